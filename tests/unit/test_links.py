"""Which links of a question are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.content.links import MAX_TEXT, MAX_URL, MOST_LINKS, NAME_CHARACTERS, links_in
from bot.domain.attachments import Omission
from bot.domain.excerpts import excerpt, join_excerpts


def urls(text: str) -> list[str]:
    return [link.locator["url"] for link in links_in(text, limit=MOST_LINKS)]


# ── how people write links ────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://a.test", "https://a.test"),
        ("HTTPS://A.test/X", "HTTPS://A.test/X"),
        ("see http://a.test/b?c=d&e=f#g now", "http://a.test/b?c=d&e=f#g"),
        ("is https://a.test/b. ok", "https://a.test/b"),
        ("is https://a.test/b?!", "https://a.test/b"),
        ("https://a.test/b.html, then", "https://a.test/b.html"),
        ("https://a.test/b; then", "https://a.test/b"),
        ("(https://a.test/b)", "https://a.test/b"),
        ("(see https://a.test/b).", "https://a.test/b"),
        ("https://a.test/b_(c)", "https://a.test/b_(c)"),
        ("(https://a.test/b_(c)).", "https://a.test/b_(c)"),
        ("https://a.test/b(", "https://a.test/b"),
        ("'https://a.test/b'", "https://a.test/b"),
        ('"https://a.test/b"', "https://a.test/b"),
        ("“https://a.test/b”", "https://a.test/b"),
        ("**https://a.test/b**", "https://a.test/b"),
        ("_https://a.test/b_", "https://a.test/b"),
        ("~~https://a.test/b~~", "https://a.test/b"),
        ("||https://a.test/b||", "https://a.test/b"),
        ("|https://a.test/b|x|", "https://a.test/b"),
        ("https://a.test/b…", "https://a.test/b"),
        ("https://a.test/b—why", "https://a.test/b"),
        ("https://a.test/{id}/x", "https://a.test/{id}/x"),
        ("https://a.test:8443/b", "https://a.test:8443/b"),
        ("http://[2001:db8::1]:8080/b", "http://[2001:db8::1]:8080/b"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://a.test/@me/1", "https://a.test/@me/1"),
        ("https://a.test/?u=me@b.test", "https://a.test/?u=me@b.test"),
        ("https://web.test/1/https://a.test/b", "https://web.test/1/https://a.test/b"),
        ("1.https://a.test", "https://a.test"),
        ("-https://a.test", "https://a.test"),
        # angle brackets: Discord without a preview, Slack's stored form
        ("<https://a.test/b>", "https://a.test/b"),
        ("<https://a.test/b_>.", "https://a.test/b_"),
        ("<https://a.test/b(c>", "https://a.test/b(c"),
        ("<https://a.test/b|a label>", "https://a.test/b"),
        ("<https://a.test/b c>", "https://a.test/b"),
        # Markdown
        ("[words](https://a.test/b)", "https://a.test/b"),
        ("[words](https://a.test/b_(c))", "https://a.test/b_(c)"),
        ("[words](<https://a.test/b)c>)", "https://a.test/b)c"),
        ('[words](https://a.test/b "title")', "https://a.test/b"),
        ("[words](https://a.test/b.)", "https://a.test/b."),
        ("[https://shown.test](https://a.test/b)", "https://a.test/b"),
        ("![picture](https://a.test/b.png)", "https://a.test/b.png"),
        ("[1]: https://a.test/b", "https://a.test/b"),
        ("[https://a.test/b]", "https://a.test/b"),
        # other scripts
        ("请看https://a.test/b，谢谢", "https://a.test/b"),
        ("请看https://a.test/b。", "https://a.test/b"),
        ("请看（https://a.test/b）", "https://a.test/b"),
        ("「https://a.test/b」を見て", "https://a.test/b"),
        ("https://a.test/bを見て", "https://a.test/b"),
        ("https://a.test에서", "https://a.test"),
        ("ดูhttps://a.testนะ", "https://a.test"),
        ("https://例え.テスト/日本", "https://例え.テスト/日本"),
        ("https://例え。テスト", "https://例え"),
        ("[維基](https://a.test/wiki/C語言)", "https://a.test/wiki/C語言"),
        ("<https://a.test/wiki/C語言>", "https://a.test/wiki/C語言"),
        ("https://bücher.test/ä", "https://bücher.test/ä"),
        # no links
        ("a.test/b", None),
        ("www.a.test", None),
        ("ftp://a.test/b", None),
        ("git+https://a.test/b", None),
        ("xhttps://a.test", None),
        ("https://", None),
        ("https://.", None),
        ("http://…", None),
        ("https:// a.test", None),
        ("https://me:secret@a.test/b", None),
        ("https://me@a.test/b", None),
        ("https://me:secret@a.test/https://b.test", None),
        ("<https://me:secret@a.test/b>", None),
        ("[x](https://me:secret@a.test/b)", None),
        ("https://a%2eb.test/", None),
        ("https://a.test:99999/", None),
        ("https://a.test:x/", None),
        ("http://[::1", None),
        ("https://a.test/\u202egpj.exe", None),
        ("https://a.test/" + "x" * MAX_URL, None),
    ],
)
def test_a_link_ends_where_people_mean_it_to(text: str, found: str | None) -> None:
    assert urls(text) == ([found] if found else [])
    assert urls(f"one\n{text}\ntwo") == ([found] if found else [])


@pytest.mark.parametrize(
    "text",
    [
        "https://a.test https://b.test",
        "https://a.test,https://b.test",
        "(https://a.test),(https://b.test)",
        "- https://a.test\n- https://b.test",
        "[x](https://a.test) and [y](https://b.test)",
        "<https://a.test><https://b.test>",
        "https://a.test、https://b.test",
        "https://a.test https://b.test https://a.test https://A.test#part",
    ],
)
def test_links_are_found_in_order_and_once(text: str) -> None:
    assert urls(text) == ["https://a.test", "https://b.test"]


# ── links that are not a person's ─────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "text",
    [
        "`https://no.test`",
        "`curl https://no.test` https://yes.test",
        "`` ` https://no.test ``",
        "```\nhttps://no.test\n```\nhttps://yes.test",
        "```sh\ncurl https://no.test\n```",
        "look: ```https://no.test``` https://yes.test",
        "look: ```\nhttps://no.test\n```\nhttps://yes.test",
        "````\n```\nhttps://no.test\n```\n````\nhttps://yes.test",
        "~~~\nhttps://no.test\n~~~\nhttps://yes.test",
        "~~~~\n~~~\nhttps://no.test\n~~~~\nhttps://yes.test",
        "```\nhttps://no.test",
        "~~~\nhttps://no.test",
        "> https://no.test\nhttps://yes.test",
        ">https://no.test",
        "  > https://no.test",
        "> > https://no.test",
        "https://yes.test\n> ```\n> https://no.test\nhttps://yes.test",
        excerpt("Forwarded message", "look at https://no.test\n\nand https://no.test/2"),
        excerpt("https://no.test wrote", "hello"),
        excerpt("In reply to https://no.test", "hello"),
        join_excerpts(["https://yes.test", excerpt("Embed", "https://no.test " * 900, limit=200)]),
    ],
)
def test_code_and_quotes_are_not_read(text: str) -> None:
    assert urls(text) == (["https://yes.test"] if "yes" in text else [])


@pytest.mark.parametrize(
    "text",
    [
        "a ` b https://yes.test",
        "a `\n\nhttps://yes.test `",
        "a ``` b https://yes.test",
        "a \\` b https://yes.test \\`",
        "2 > 1: https://yes.test",
        "-> https://yes.test",
        "Does https://yes.test say this:\n> words",
    ],
)
def test_signs_that_begin_no_code_or_quote_hide_nothing(text: str) -> None:
    assert urls(text) == ["https://yes.test"]


def test_adapters_leave_out_the_links_that_they_read() -> None:
    text = "https://chat.test/1 https://a.test https://b.test"
    found = links_in(text, limit=1, skip=lambda url: url.startswith("https://chat.test/"))
    assert [(each.locator["url"], each.omission) for each in found] == [
        ("https://a.test", None),
        ("https://b.test", Omission.TOO_MANY),
    ]


# ── limits ────────────────────────────────────────────────────────────────────────────────────
def test_links_beyond_the_limit_are_named_as_too_many() -> None:
    found = links_in(" ".join(f"https://a.test/{n}" for n in range(100)), limit=3)
    assert [each.omission for each in found[:3]] == [None] * 3
    assert [each.omission for each in found[3:]] == [Omission.TOO_MANY] * (MOST_LINKS - 3)
    assert all(each.is_link for each in found)


@pytest.mark.parametrize("limit", [0, -1])
def test_no_link_is_found_if_none_is_read(limit: int) -> None:
    assert links_in("https://a.test", limit=limit) == ()


def test_a_link_that_the_end_of_the_searched_text_cuts_is_left_out() -> None:
    for before in range(MAX_TEXT - 30, MAX_TEXT + 1):
        text = " " * before + "https://a.test/12345"
        fits = len(text) <= MAX_TEXT
        assert urls(text) == (["https://a.test/12345"] if fits else [])


# ── names ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.test", "a.test"),
        ("https://A.test/", "a.test"),
        ("https://a.test/b/c.pdf", "a.test/b/c.pdf"),
        ("https://a.test:8443/b", "a.test:8443/b"),
        ("https://a.test/b?token=secret#part", "a.test/b"),
        ("https://a.test/" + "b/" * 40 + "c.pdf", "a.test/…/c.pdf"),
        ("https://a.test/" + "b" * 80, "a.test/…/" + "b" * 50 + "…"),
        ("https://" + "a" * 50 + ".test/" + "b" * 80, "a" * 29 + "…/…/" + "b" * 26 + "…"),
        ("https://" + "a" * 70, "a" * 29 + "…/…/"),
    ],
)
def test_a_link_s_name_is_short_and_without_its_query(url: str, name: str) -> None:
    (link,) = links_in(url, limit=1)
    assert link.name == name
    assert len(link.name) <= NAME_CHARACTERS


# ── properties ────────────────────────────────────────────────────────────────────────────────
PIECES = st.sampled_from(
    [
        *"`~><[](){}|\\\n \t.,:;!?'\"*_#@%/。，（）「」日가\u202e\x00é",
        "https://", "http://", "HTTPS://", "a.test", "[::1]", ":80", "```", "~~~", "](", "> ",
        " wrote:\n", "In reply to ", "me:pw@", "/path", "?q=1", "127.0.0.1", "xn--",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=60).map("".join)


@given(TEXTS, st.integers(0, 5))
@settings(max_examples=400)
def test_whatever_people_write_each_result_is_a_link_in_it(text: str, limit: int) -> None:
    found = links_in(text, limit=limit)
    assert len(found) <= (MOST_LINKS if limit else 0)
    assert sum(each.omission is None for each in found) <= limit
    assert len({each.locator["url"] for each in found}) == len(found)
    places = [text.find(each.locator["url"]) for each in found]
    assert -1 not in places
    for link in found:
        parts = urlsplit(link.locator["url"])
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert "@" not in parts.netloc
        assert parts.port is None or 0 <= parts.port < 65_536
        assert link.locator["url"].isprintable()
        assert 0 < len(link.name) <= NAME_CHARACTERS


@given(TEXTS)
@settings(max_examples=300)
def test_quoted_text_contains_no_link(text: str) -> None:
    assert urls(excerpt("Embed", text.replace("\r", ""))) == []


def hostile() -> Iterator[str]:
    pieces = [
        "`", "``", "` `` ", "```", "``` ", "~~~\n", "~~~~~~~~~\n", "> a\n", "\n", " ", "\\", "\\`",
        "https://", "https://a", "https://a ", "https://a.test/),", "https://a.test,", "https://[",
        "https://(", "https://(a)", "<https://a|", "<https://a", "[https://a](", "](https://a",
        "](https://(", "[", "(", "In reply to ", "In reply to \n", " wrote", " wrote:\n",
        "x wrote:\n>",
        "https://me@a ", "https://日", "a日", "x://", "`\n\n", "`a\n \n", "````````` `", "https://a.test/{",
    ]  # fmt: skip
    for piece in pieces:
        yield piece
        yield piece + "`"
        yield "\n" + piece
    yield " ".join("`" * n for n in range(350, 0, -1))
    yield " ".join("`" * n for n in range(1, 350))


def test_no_text_takes_long() -> None:
    """Measures CPU time of this thread, since the bot's event loop waits for it."""
    for piece in hostile():
        text = "://" + piece * (MAX_TEXT // len(piece) + 1)
        assert any(seconds(text) < 0.1 for _ in range(3)), piece[:20]


def seconds(text: str) -> float:
    start = time.thread_time()
    links_in(text, limit=3)
    return time.thread_time() - start
