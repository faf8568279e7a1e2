"""Properties of what servers and people send to the reader of links: only our own errors are
raised."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from bot.content.link_reader import _redirect
from bot.content.web_addresses import HostRules, is_public, parse_link
from bot.content.web_body import (
    MAX_NAME,
    Unpacker,
    media_type_of,
    name_of,
    require_readable,
)
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError

HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=80)
PARAMETERS = st.lists(
    st.sampled_from(
        ["text/html", "attachment", ";", "=", '"', "charset", "filename", "filename*", "*0", "*1*",
         "UTF-8''", "nonsense''", "%ff", "%", "\\", "/", "..", "é", "\x85", " ", "a.pdf", "?=",
         "=?utf-8?q?"]
    )
    | HEADER,
    max_size=12,
).map("".join)  # fmt: skip
LINK = st.lists(
    st.sampled_from(
        ["http://", "https://", "//", "/", ":", "@", "?", "#", "[", "]", "%", "%2e", ".", "..",
         "\\", "127.0.0.1", "::1", "a.test", "localhost", "xn--", "0x7f", "80", "。", "①", "\xff",
         "é", "\t"]
    )
    | st.text(max_size=4),
    max_size=10,
).map("".join)  # fmt: skip


@given(PARAMETERS)
@settings(max_examples=400)
def test_headers_of_any_form_give_a_kind_and_a_harmless_name(value: str) -> None:
    kind = media_type_of({"content-type": value})
    assert kind == "" or (kind.isascii() and "/" in kind and kind.isprintable())
    name = name_of(URL("http://a.test/b.html"), {"content-disposition": value})
    assert len(name) <= MAX_NAME
    assert not name or (name.isprintable() and not set("/\\") & set(name) and name != "..")
    with suppress(AttachmentError):
        require_readable(kind, name)


@given(LINK)
@example("http://[::1%25eth0]/")
@example("http://xn--a/")
@settings(max_examples=800)
def test_links_of_any_form_are_plain_or_refused(link: str) -> None:
    try:
        target = parse_link(link)
    except AttachmentError as error:
        assert error.omission in (Omission.UNREACHABLE, Omission.FORBIDDEN_ADDRESS)
        return
    assert target.url.raw_host == target.host
    assert target.host.isascii() and "%" not in target.host
    assert target.url.user is None and target.url.password is None
    assert target.address is not None or "." in target.host
    assert HostRules(allowed=[target.host]).permit(target)
    assert not HostRules(denied=[target.host]).permit(target)


@given(LINK.map(lambda text: text.encode("utf-8").decode("latin-1")) | HEADER)
@settings(max_examples=400)
def test_redirects_of_any_form_are_plain_or_refused(location: str) -> None:
    with suppress(AttachmentError):
        target = _redirect(parse_link("https://page.test/a/b"), location)
        assert target.url.raw_host == target.host


@given(st.ip_addresses())
@settings(max_examples=800)
def test_no_public_address_is_special(address: object) -> None:
    if is_public(address):  # type: ignore[arg-type]
        assert address.is_global  # type: ignore[attr-defined]
        assert not address.is_multicast  # type: ignore[attr-defined]
        assert not address.is_private  # type: ignore[attr-defined]


# ── unpacking ─────────────────────────────────────────────────────────────────────────────────
def unpack(encoding: str, data: bytes, step: int, limit: int) -> bytes:
    unpacker = Unpacker(encoding, limit=limit)
    for start in range(0, len(data), step):
        unpacker.feed(data[start : start + step])
        if unpacker.is_complete:
            break
    return unpacker.finish()


@given(st.binary(max_size=3_000), st.integers(1, 50), st.sampled_from(["gzip", "deflate", ""]))
def test_any_division_unpacks_to_the_same(data: bytes, step: int, encoding: str) -> None:
    packers = {"gzip": gzip.compress, "deflate": zlib.compress, "": bytes}
    packed = packers[encoding](data * 3)  # type: ignore[operator]
    assert unpack(encoding, packed, step, len(data) * 3) == data * 3
    if data:
        with pytest.raises(AttachmentError) as caught:
            unpack(encoding, packed, step, len(data) * 3 - 1)
        assert caught.value.omission in (Omission.TOO_LARGE, Omission.EXPANDS)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "identity", "br", "\xff"]))
def test_bytes_of_any_form_unpack_within_the_limit_or_are_refused(data: bytes, name: str) -> None:
    with suppress(AttachmentError):
        assert len(unpack(name, data, 7, 100)) <= 100
