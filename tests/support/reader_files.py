"""Makes small files of many kinds, without the applications that usually write them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

FIXTURES = Path(__file__).parents[1] / "fixtures" / "files"

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELS = "http://schemas.openxmlformats.org/package/2006/relationships"
_DOC_RELS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_OOXML = "application/vnd.openxmlformats-officedocument"


def zipped(members: Mapping[str, str | bytes], *, stored: Sequence[str] = ()) -> bytes:
    """A ZIP of these members in order; those in `stored` are not compressed."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return sink.getvalue()


def _package(main: str, kind: str, others: Mapping[str, str | bytes], parts: str = "") -> bytes:
    """An OOXML package whose main part is `main`."""
    return zipped({
        "[Content_Types].xml": f'{_XML}<Types xmlns="{_TYPES}"><Default Extension="rels" '
        f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" '
        f'ContentType="application/xml"/><Default Extension="png" ContentType="image/png"/>'
        f'<Override PartName="/{main}" ContentType="{kind}"/>{parts}</Types>',
        "_rels/.rels": f'{_XML}<Relationships xmlns="{_RELS}"><Relationship Id="r1" Type='
        f'"{_DOC_RELS}/officeDocument" Target="{main}"/></Relationships>',
        **others,
    })  # fmt: skip


def docx(
    body: str = "<w:p><w:r><w:t>Hello</w:t></w:r></w:p>",
    prolog: str = "",
    others: Mapping[str, bytes] | None = None,
) -> bytes:
    """A Word document with this WordprocessingML body."""
    main = f'{_XML}{prolog}<w:document xmlns:w="{_W}"><w:body>{body}</w:body></w:document>'
    return _package(
        "word/document.xml",
        f"{_OOXML}.wordprocessingml.document.main+xml",
        {"word/document.xml": main, **(others or {})},
    )


def docx_paragraphs(texts: Sequence[str]) -> bytes:
    """A Word document with these paragraphs."""
    return docx("".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in texts))


_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def xlsx(sheets: Mapping[str, Sequence[Sequence[str | float]]]) -> bytes:
    """An Excel workbook of texts and numbers."""
    names = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="r{number}"/>'
        for number, name in enumerate(sheets, 1)
    )
    rels = "".join(
        f'<Relationship Id="r{number}" Type="{_DOC_RELS}/worksheet" '
        f'Target="worksheets/sheet{number}.xml"/>'
        for number in range(1, len(sheets) + 1)
    )
    parts = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" '
        f'ContentType="{_OOXML}.spreadsheetml.worksheet+xml"/>'
        for number in range(1, len(sheets) + 1)
    )
    contents = {
        f"xl/worksheets/sheet{number}.xml": f'{_XML}<worksheet xmlns="{_S}"><sheetData>'
        f"{_rows(rows)}</sheetData></worksheet>"
        for number, rows in enumerate(sheets.values(), 1)
    }
    book = f'{_XML}<workbook xmlns="{_S}" xmlns:r="{_DOC_RELS}"><sheets>{names}</sheets></workbook>'
    return _package(
        "xl/workbook.xml",
        f"{_OOXML}.spreadsheetml.sheet.main+xml",
        {
            "xl/workbook.xml": book,
            "xl/_rels/workbook.xml.rels": f'{_XML}<Relationships xmlns="{_RELS}">{rels}'
            "</Relationships>",
            **contents,
        },
        parts,
    )


def _rows(rows: Sequence[Sequence[str | float]]) -> str:
    return "".join(
        f'<row r="{number}">{"".join(_cell(cell, number, at) for at, cell in enumerate(row))}</row>'
        for number, row in enumerate(rows, 1)
    )


def _cell(cell: str | float, row: int, column: int) -> str:
    place = f"{chr(65 + column)}{row}"
    if isinstance(cell, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{cell}</t></is></c>'
    return f'<c r="{place}"><v>{cell}</v></c>'


_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"


def pptx(slides: Sequence[str]) -> bytes:
    """A presentation with a title on each slide."""
    ids = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
    rels = "".join(
        f'<Relationship Id="r{n}" Type="{_DOC_RELS}/slide" Target="slides/slide{n}.xml"/>'
        for n in range(1, len(slides) + 1)
    )
    parts = "".join(
        f'<Override PartName="/ppt/slides/slide{n}.xml" '
        f'ContentType="{_OOXML}.presentationml.slide+xml"/>'
        for n in range(1, len(slides) + 1)
    )
    namespaces = f'xmlns:p="{_P}" xmlns:a="{_A}" xmlns:r="{_DOC_RELS}"'
    contents = {
        f"ppt/slides/slide{n}.xml": f"{_XML}<p:sld {namespaces}><p:cSld><p:spTree><p:sp><p:nvSpPr>"
        f'<p:cNvPr id="2" name="T"/><p:cNvSpPr/><p:nvPr><p:ph type="title"/></p:nvPr></p:nvSpPr>'
        f"<p:spPr/><p:txBody><a:bodyPr/><a:p><a:r><a:t>{title}</a:t></a:r></a:p></p:txBody></p:sp>"
        "</p:spTree></p:cSld></p:sld>"
        for n, title in enumerate(slides, 1)
    }
    return _package(
        "ppt/presentation.xml",
        f"{_OOXML}.presentationml.presentation.main+xml",
        {
            "ppt/presentation.xml": f"{_XML}<p:presentation {namespaces}><p:sldIdLst>{ids}"
            "</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": f'{_XML}<Relationships xmlns="{_RELS}">{rels}'
            "</Relationships>",
            **contents,
        },
        parts,
    )


_OFFICE = "urn:oasis:names:tc:opendocument:xmlns"


def _opendocument(kind: str, body: str) -> bytes:
    namespaces = " ".join(
        f'xmlns:{name}="{_OFFICE}:{name}:1.0"' for name in ("office", "text", "table")
    )
    drawing = f'xmlns:draw="{_OFFICE}:drawing:1.0" xmlns:presentation="{_OFFICE}:presentation:1.0"'
    media_type = f"application/vnd.oasis.opendocument.{kind}"
    return zipped(
        {
            "mimetype": media_type,
            "content.xml": f'{_XML}<office:document-content {namespaces} {drawing} '
            f'office:version="1.2"><office:body>{body}</office:body></office:document-content>',
            "META-INF/manifest.xml": f'{_XML}<m:manifest xmlns:m="{_OFFICE}:manifest:1.0">'
            f'<m:file-entry m:full-path="/" m:media-type="{media_type}"/>'
            '<m:file-entry m:full-path="content.xml" m:media-type="text/xml"/></m:manifest>',
        },
        stored=["mimetype"],
    )  # fmt: skip


def odt(paragraph: str) -> bytes:
    """An OpenDocument text with a heading and a paragraph."""
    return _opendocument(
        "text",
        '<office:text><text:h text:outline-level="1">Title</text:h>'
        f"<text:p>{paragraph}</text:p></office:text>",
    )


def odp(paragraph: str) -> bytes:
    """An OpenDocument presentation with a text on its slide."""
    return _opendocument(
        "presentation",
        '<office:presentation><draw:page draw:name="p1"><draw:frame><draw:text-box><text:p>'
        f"{paragraph}</text:p></draw:text-box></draw:frame></draw:page></office:presentation>",
    )


def ods(name: str, cell: str) -> bytes:
    """An OpenDocument workbook with one cell."""
    return _opendocument(
        "spreadsheet",
        f'<office:spreadsheet><table:table table:name="{name}"><table:table-row><table:table-cell '
        f'office:value-type="string"><text:p>{cell}</text:p></table:table-cell></table:table-row>'
        "</table:table></office:spreadsheet>",
    )


def epub(chapters: Sequence[str]) -> bytes:
    """A book with these chapters."""
    items = "".join(
        f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>'
        for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    container = "urn:oasis:names:tc:opendocument:xmlns:container"
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": f'{_XML}<container version="1.0" xmlns="{container}">'
            '<rootfiles><rootfile full-path="book.opf" media-type="application/oebps-package+xml"/>'
            "</rootfiles></container>",
            "book.opf": f'{_XML}<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
            f"<metadata/><manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{
                f"c{n}.xhtml": f'{_XML}<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>Chapter'
                f" {n + 1}</h1><p>{chapter}</p></body></html>"
                for n, chapter in enumerate(chapters)
            },
        },
        stored=["mimetype"],
    )


def pdf(pages: Sequence[str | None], *, title: str = "", extra: Sequence[str] = ()) -> bytes:
    """A PDF. Each page is a text of lines, "" for a blank page, or None for a scanned one.

    `extra` are further entries of the catalog.
    """
    scan = zlib.compress(bytes(range(256)) * 3)
    objects: list[bytes] = [
        f"<< /Type /Catalog /Pages 2 0 R {' '.join(extra)} >>".encode(),
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Type /XObject /Subtype /Image /Width 16 /Height 16 /ColorSpace /DeviceRGB "
        b"/BitsPerComponent 8 /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream"
        % (len(scan), scan),
        f"<< /Title ({title}) >>".encode(),
    ]
    kids = []
    for page in pages:
        content = zlib.compress(_page_content(page).encode("latin-1"))
        objects.append(
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream"
            % (len(content), content)
        )
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> /XObject << /I1 4 0 R >> >> >>" % len(objects)
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    return assemble_pdf(objects)


def assemble_pdf(objects: Sequence[bytes]) -> bytes:
    """A PDF of these objects, of which the first is its catalog and the fifth its information."""
    sink, offsets = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), []
    for number, content in enumerate(objects, 1):
        offsets.append(len(sink))
        sink += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(sink)
    sink += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        sink += b"%010d 00000 n \n" % offset
    sink += b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R >>\n" % (len(objects) + 1)
    return bytes(sink + b"startxref\n%d\n%%%%EOF\n" % start)


def _page_content(page: str | None) -> str:
    if page is None:
        return "q 500 0 0 700 40 40 cm /I1 Do Q"
    lines = "".join(f"({_escaped(line)}) Tj T* " for line in page.split("\n"))
    return f"BT /F1 11 Tf 14 TL 40 800 Td {lines}ET" if page else ""


def _escaped(line: str) -> str:
    return line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def picture(form: str, size: tuple[int, int] = (60, 40), **options: object) -> bytes:
    """An image whose left half is blue and whose right half is red."""
    image = Image.new("RGB", size, "red")
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 2 - 1, size[1] - 1), fill="blue")
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()
