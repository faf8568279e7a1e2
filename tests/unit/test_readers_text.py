"""Readers of text, web pages, e-mails and archives, in this process."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from email.message import EmailMessage

import pytest

from bot.content.readers import task
from bot.content.readers.packing import Task
from bot.content.readers.text import language_of
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError
from tests.support import reader_files as files


def read(data: bytes, name: str = "", *, media_type: str = "") -> Extract:
    return task.read(Task(name, media_type, data, 100))


def refuse(data: bytes, name: str = "", *, media_type: str = "") -> Omission:
    with pytest.raises(AttachmentError) as caught:
        read(data, name, media_type=media_type)
    return caught.value.omission


# ── text ──────────────────────────────────────────────────────────────────────────────────────
RUSSIAN = "Привет, это обычный русский текст о погоде и природе. " * 20
JAPANESE = "日本語のテキストです。今日は天気がいいですね。" * 9
GERMAN = "Größe, Übung, weiß: schöne Grüße aus München für alle Gäste. " * 20


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plain\n", "plain\n"),
        ("naïve ☕".encode(), "naïve ☕"),
        (b"\xef\xbb\xbfwith mark", "with mark"),
        ("größer".encode("utf-16"), "größer"),
        ("größer".encode("utf-16-be"), "größer"),
        ("größer als".encode("utf-16-le"), "größer als"),
        ("größer".encode("utf-32"), "größer"),
        (RUSSIAN.encode("cp1251"), RUSSIAN),
        (RUSSIAN.encode("koi8_r"), RUSSIAN),
        (GERMAN.encode("cp1252"), GERMAN),
        (JAPANESE.encode("shift_jis"), JAPANESE),
        (b"one bad byte \xff in UTF-8 text \xc3\xa9\xc3\xa9\xc3\xa9", "one bad byte \ufffd in"),
    ],
    ids=["ascii", "utf-8", "bom", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "cp1251", "koi8",
         "cp1252", "shift-jis", "broken"],
)  # fmt: skip
def test_encodings_are_detected(data: bytes, expected: str) -> None:
    found = read(data, "a.txt")
    assert found.kind is AttachmentKind.TEXT
    assert found.text.startswith(expected)


def test_control_characters_are_removed() -> None:
    """This includes terminal colors, bidirectional overrides and invisible tags."""
    found = read("a\x07b\x1b[31mred\x1b[0m\r\nc\rd\u202ee\U000e0041f\x00".encode(), "build.log")
    assert found.text == "abred\nc\ndef"


def test_binary_data_is_not_text() -> None:
    assert refuse(bytes(range(256)) * 4, "a.txt") is Omission.UNSUPPORTED
    assert refuse(b"\0" * 100 + b"text", "a.txt", media_type="text/plain") is Omission.UNSUPPORTED
    assert refuse(b"\x01\x02\x03\x04" * 50, "a.csv") is Omission.UNSUPPORTED


@pytest.mark.parametrize(
    "words",
    ["ID3 tags are old", "OTTO wrote", "BZh is how", "RIFF raff", "The ftyp box", "OggS begins",
     "MZ is", "BMW drives", "PK means", "From: here\nto there", "FORM follows", "8BPS of"],
)  # fmt: skip
def test_texts_that_begin_like_another_format_are_text(words: str) -> None:
    found = read(words.encode(), "a.txt")
    assert (found.kind, found.text) == (AttachmentKind.TEXT, words)


def test_blank_files_are_empty() -> None:
    assert refuse(b" \r\n\t ", "a.txt") is Omission.EMPTY


def test_a_long_text_keeps_its_first_and_last_part() -> None:
    lines = [f"{number:07} some line of a log" for number in range(40_000)]
    found = read("\n".join(lines).encode(), "app.log")
    assert found.text.startswith(lines[0])
    assert found.text.endswith(lines[-1])
    assert 390_000 < len(found.text) < 401_000
    assert "characters …]" in found.text
    left_out = len("\n".join(lines)) - len(found.text)
    (note,) = found.notes
    assert note.endswith(" characters in the middle were left out.")
    assert abs(int(note.split()[0].replace(",", "")) - left_out) < 50


@pytest.mark.parametrize(
    ("name", "media_type", "expected"),
    [
        ("a.py", "", "python"), ("A.RS", "", "rust"), ("x.json", "", "json"), ("b.csv", "", "csv"),
        ("Dockerfile", "", "docker"), ("Makefile", "", "make"), ("a.c", "", "c"), ("a.txt", "", ""),
        ("a.java", "", "java"), ("a.go", "", "go"), ("a.sh", "", "bash"), ("x.yaml", "", "yaml"),
        ("noname", "application/json; charset=utf-8", "json"), ("message", "text/plain", ""),
        ("a.toml", "", "toml"), ("a.tsx", "", "tsx"), ("a.css", "", "css"), ("a.kt", "", "kotlin"),
    ],
)  # fmt: skip
def test_the_language_follows_the_name(name: str, media_type: str, expected: str) -> None:
    assert language_of(name, media_type) == expected


def test_svg_is_text() -> None:
    found = read(b'<svg xmlns="http://www.w3.org/2000/svg"><text>hi</text></svg>', "logo.svg")
    assert (found.kind, found.media_type, found.language) == (
        AttachmentKind.TEXT, "image/svg+xml", "xml",
    )  # fmt: skip


# ── web pages ─────────────────────────────────────────────────────────────────────────────────
PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>The  title</title>
<meta property="article:published_time" content="2026-03-01T10:00:00Z">
<script>alert(1)</script><style>p {}</style></head><body>
<nav><a href="https://example.org/menu">Menu</a></nav>
<article><h1>Heading</h1><p>Some <b>bold</b> text &amp; a <a href="https://example.org/x">link</a>.
<span style="display: none">hidden order</span></p>
<ul><li>one<ul><li>inner</li></ul></li><li>two</li></ul><ol><li>a</li><li>b</li></ol>
<pre>  code
    indented</pre>
<table><thead><tr><th>A</th><th>B</th></tr></thead>
<tbody><tr><td><p>1</p></td><td>2</td></tr></tbody></table>
<img src="x.png" alt="A chart"><p>%s</p></article><footer>Imprint</footer></body></html>"""


def test_a_web_page_becomes_its_readable_part() -> None:
    found = read((PAGE % ("Long paragraph. " * 20)).encode(), "page")
    assert (found.kind, found.title) == (AttachmentKind.DOCUMENT, "The title")
    assert found.date == "2026-03-01T10:00:00Z"
    assert found.text.startswith(
        "# Heading\n\nSome **bold** text & a [link](https://example.org/x).\n\n- one\n  - inner\n"
    )
    assert "1. a\n2. b" in found.text
    assert "```\n  code\n    indented\n```" in found.text
    assert "| A | B |\n| --- | --- |\n| 1 | 2 |" in found.text
    assert "![A chart]" in found.text
    for absent in ("alert", "Menu", "Imprint", "hidden order"):
        assert absent not in found.text


def test_a_declared_charset_is_used() -> None:
    page = '<html><head><meta charset="windows-1251"></head><body>Привет</body></html>'
    assert read(page.encode("cp1251"), "a.html").text == "Привет"


@pytest.mark.parametrize("wrapper", ["form", "nav", "footer"])
def test_a_page_inside_a_menu_or_form_is_read(wrapper: str) -> None:
    """Old servers wrap whole pages in a form; broken pages never close their menu."""
    assert read(f"<html><body><{wrapper}><p>Text</p></body></html>".encode()).text == "Text"


def test_a_page_of_scripts_has_no_text() -> None:
    assert refuse(b"<html><body><script>x()</script></body></html>") is Omission.NO_TEXT


def test_source_code_that_contains_a_page_stays_text() -> None:
    found = read(b"<html><?php echo 1; ?></html>", "index.php")
    assert (found.kind, found.language) == (AttachmentKind.TEXT, "php")


# ── e-mail ────────────────────────────────────────────────────────────────────────────────────
def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ada <ada@example.org>"
    message["To"] = "bob@example.org"
    message["Subject"] = "Grüße und Zahlen"
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    message.set_content("Hello Bob,\nsee the file.\n")
    message.add_alternative("<p>Hello <b>Bob</b></p>", subtype="html")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="Bücher\n/x.pdf")
    return message


def test_an_email_has_headers_body_and_the_names_of_its_files() -> None:
    found = read(mail().as_bytes(), "mail.eml")
    assert (found.title, found.date) == ("Grüße und Zahlen", "Mon, 02 Mar 2026 10:00:00 +0000")
    assert found.text.startswith("From: Ada <ada@example.org>  \nTo: bob@example.org  \n")
    assert "Hello Bob,\nsee the file." in found.text
    assert found.text.splitlines()[-2] == "Attached files:"
    assert found.text.splitlines()[-1].startswith("- B")
    assert found.notes == ("The files attached to the e-mail were not read.",)


def test_an_email_of_html_only_becomes_markdown() -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "a@example.org", "x"
    message.set_content("<p>Only <b>rich</b></p>", subtype="html")
    assert read(message.as_bytes(), "a.eml").text.endswith("Only **rich**")


# ── archives ──────────────────────────────────────────────────────────────────────────────────
def tar(names: list[str]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return sink.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_archives_become_a_list_of_names(pack: object) -> None:
    data = pack(tar(["a.txt", "dir/b\n\x1b[31m.txt"]))  # type: ignore[operator]
    found = read(data, "x.tgz")
    assert found.text == "- a.txt (3 bytes)\n- dir/b .txt (3 bytes)"
    assert found.notes == ("Only the names of the files in it were read, not the files.",)


def test_a_zip_becomes_a_list_of_at_most_500_names() -> None:
    found = read(files.zipped({f"f{n}": "x" for n in range(600)}))
    assert found.text.count("\n") == 499
    assert "Only the first 500 files were listed." in found.notes


def test_a_compressed_log_is_read() -> None:
    found = read(gzip.compress(b'{"a": 1}'), "x.json.gz")
    assert (found.kind, found.language, found.text) == (AttachmentKind.TEXT, "json", '{"a": 1}')
