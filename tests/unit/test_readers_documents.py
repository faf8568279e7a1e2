"""Readers of documents, in this process: PDF, office files, workbooks, books."""

from __future__ import annotations

import pytest

from bot.content.readers import task
from bot.content.readers.packing import Task
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError
from tests.support import reader_files as files


def read(data: bytes, name: str = "file.bin", *, media_type: str = "", pages: int = 100) -> Extract:
    return task.read(Task(name, media_type, data, pages))


def refuse(data: bytes, name: str = "file.bin", *, media_type: str = "") -> Omission:
    with pytest.raises(AttachmentError) as caught:
        read(data, name, media_type=media_type)
    return caught.value.omission


# ── PDF ───────────────────────────────────────────────────────────────────────────────────────
def test_a_pdf_has_marks_for_its_pages() -> None:
    found = read(files.pdf(["First\nline two", "Second"], title="Report"))
    assert found.kind is AttachmentKind.DOCUMENT
    assert found.text == "[Page 1]\nFirst\nline two\n\n[Page 2]\nSecond"
    assert (found.title, found.images, found.notes) == ("Report", (), ())


def test_scanned_pages_are_named_and_become_images() -> None:
    """A blank page is neither named nor shown."""
    found = read(files.pdf(["Text", None, None, "", None, "End"]))
    assert [image.label for image in found.images] == ["page 2", "page 3", "page 5"]
    assert all(image.media_type == "image/jpeg" for image in found.images)
    assert all(max(image.width, image.height) <= 2_000 for image in found.images)
    assert found.notes == ("Pages 2–3 and 5 have no text and are included as images.",)


def test_at_most_eight_scanned_pages_become_images() -> None:
    found = read(files.pdf([None] * 12))
    assert len(found.images) == 8
    assert found.notes == ("Pages 1–12 have no text; the first 8 are included as images.",)
    assert found.text == ""


def test_pages_beyond_the_limit_are_counted() -> None:
    found = read(files.pdf([f"Page number {n}" for n in range(130)]), pages=100)
    assert "[Page 100]" in found.text
    assert "[Page 101]" not in found.text
    assert found.notes == ("Only the first 100 pages of 130 were read.",)


def test_an_encrypted_pdf_is_refused_as_such() -> None:
    assert refuse((files.FIXTURES / "encrypted.pdf").read_bytes()) is Omission.ENCRYPTED


def test_a_pdf_without_content_has_no_text() -> None:
    assert refuse(files.pdf([""])) is Omission.NO_TEXT
    assert refuse(b"%PDF-1.7\nnothing") is Omission.DAMAGED


def test_form_fields_and_notes_are_read() -> None:
    data = files.assemble_pdf([
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Annots [4 0 R 6 0 R] >>",
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Name) /V (Ada) /Rect [0 0 9 9] >>",
        b"<< >>",
        b"<< /Type /Annot /Subtype /Text /Contents (Please check) /Rect [0 0 9 9] >>",
    ])  # fmt: skip
    assert read(data).text == "[Page 1]\nName: Ada\nPlease check"


# ── office ────────────────────────────────────────────────────────────────────────────────────
def test_a_word_document_becomes_markdown() -> None:
    bold = "<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>Bold</w:t></w:r></w:p>"
    row = "<w:tr>" + "<w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc>" * 2 + "</w:tr>"
    found = read(files.docx(f"{bold}<w:tbl>{row}{row}</w:tbl>"))
    assert found.text.startswith("**Bold**\n\n|")
    assert found.media_type.endswith("wordprocessingml.document")


def test_a_presentation_has_its_titles_as_headings() -> None:
    assert read(files.pptx(["One", "Two"])).text == "## One\n\n## Two"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (files.odt("Grüße"), "# Title\n\nGrüße"),
        (files.odp("On a slide"), "On a slide"),
        (files.epub(["First text", "Second"]), "Second"),
        (rb"{\rtf1\ansi Hello {\b bold} world\par}", "Hello **bold** world"),
    ],
    ids=["odt", "odp", "epub", "rtf"],
)
def test_other_documents_become_markdown(data: bytes, expected: str) -> None:
    found = read(data, "lies.png", media_type="image/png")
    assert found.kind is AttachmentKind.DOCUMENT
    assert expected in found.text


def test_pictures_in_a_document_are_mentioned() -> None:
    found = read(files.docx(others={"word/media/image1.png": files.picture("PNG")}))
    assert (found.text, found.notes) == ("Hello", ("The pictures in it were not read.",))


def test_an_empty_document_has_no_text() -> None:
    assert refuse(files.docx("<w:p/>")) is Omission.NO_TEXT


# ── workbooks ─────────────────────────────────────────────────────────────────────────────────
def test_sheets_become_tables_under_their_names() -> None:
    found = read(
        files.xlsx({
            "Sales": [["Month", "Sum"], ["May|June", 12.5], ["July", 3]],
            "Empty": [],
            "Other": [["x"]],
        })
    )  # fmt: skip
    assert found.text == (
        "## Sales\n\n| Month | Sum |\n| --- | --- |\n| May\\|June | 12.5 |\n| July | 3 |\n\n"
        "## Other\n\n| x |\n| --- |"
    )
    assert found.notes == ()


def test_old_and_open_workbooks_are_read() -> None:
    found = read((files.FIXTURES / "sales.xls").read_bytes())
    assert "| May | 12.5 |" in found.text
    assert found.media_type == "application/vnd.ms-excel"
    assert read(files.ods("Data", "value")).text == "## Data\n\n| value |\n| --- |"


def test_sheets_and_rows_beyond_the_limits_are_counted() -> None:
    found = read(files.xlsx({f"S{n}": [["a"]] for n in range(5)}), pages=2)
    assert found.text.count("## ") == 2
    assert found.notes == ("Only the first 2 sheets of 5 were read.",)
    found = read(files.xlsx({"Long": [["word " * 50]] * 2_000, "Next": [["b"]]}))
    assert "## Next" in found.text
    assert found.notes == ("Only the first 791 rows of 2,000 in “Long” were read.",)


def test_encrypted_and_empty_workbooks_are_refused_as_such() -> None:
    assert refuse((files.FIXTURES / "encrypted.xlsx").read_bytes()) is Omission.ENCRYPTED
    assert refuse(files.xlsx({"Empty": []})) is Omission.EMPTY
