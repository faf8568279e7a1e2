"""Every header that the server reads, with values that no browser sends, over raw sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.web_kit import HTTP_TOKENS, TOKENS, Site, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEADERS = (
    "Host", "Origin", "Authorization", "Cookie", "Range", "If-None-Match", "If-Modified-Since",
    "If-Range", "Last-Event-ID", "Content-Type", "Content-Length", "Transfer-Encoding", "Accept",
    "Accept-Encoding", "Connection", "Upgrade", "Expect", "Referer", "Sec-Fetch-Site",
    "Sec-Fetch-Mode", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
    "X-Real-IP", "Via", "CF-Connecting-IP", "X-Slack-Signature", "X-Slack-Request-Timestamp",
)  # fmt: skip
VALUES = (
    b"",
    b" ",
    b"\xff\xfe\x80",
    "Ünïcödé \u202e😀".encode(),
    b"http://[bad",
    b"//[::1",
    b"http://a:99999999999999999999/",
    b"bytes=0-,9-1,-0,99999999999999999999999-",
    b"Bearer \xff\xff",
    b"Bearer " + b"x" * 8_000,
    b"9" * 5_000,
    b"-1",
    b"a" * 12_000,
    b'"' * 500,
    b",;=:/ " * 300,
    b"%00%0d%0a\t\x01",
    b"websocket",
    b"100-continue",
    b"chunked, chunked",
    b"multipart/form-data; boundary=" + b"-" * 1_000,
    b"application/json; charset=utf-99",
)
REQUESTS = (
    (b"GET", b"/static/style.css"),
    (b"GET", b"/conversation"),
    (b"GET", b"/healthz"),
    (b"POST", b"/api/chat"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["tokens", "open"])
async def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("headers")
    settings = {"HTTP_TOKENS": HTTP_TOKENS} if request.param == "tokens" else {}
    async with serving(folder, **settings) as running:
        yield running


async def status(site: Site, text: bytes) -> int:
    """The response's status; 0 if the server closes the connection without a response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(text)
        async with asyncio.timeout(60):
            line = await reader.readline()
        return int(line.split()[1]) if line else 0
    except ConnectionError:
        return 0
    finally:
        writer.close()


def request(method: bytes, path: bytes, *headers: tuple[str, bytes]) -> bytes:
    """A valid request, except for the given headers."""
    given = {name.lower() for name, _ in headers}
    good = (
        ("Host", b"127.0.0.1"),
        ("Authorization", b"Bearer " + TOKENS["alice"].encode()),
        ("Content-Length", b"2" if method == b"POST" else b"0"),
        ("Connection", b"close"),
    )
    kept = [(name, value) for name, value in good if name.lower() not in given]
    lines = [name.encode() + b": " + value + b"\r\n" for name, value in (*kept, *headers)]
    body = b"{}" if method == b"POST" else b""
    return method + b" " + path + b" HTTP/1.1\r\n" + b"".join(lines) + b"\r\n" + body


@pytest.mark.parametrize("header", HEADERS)
async def test_no_header_value_causes_a_server_error(
    site: Site, header: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such requests are refused or have no effect: no 5xx, and no traceback in the log."""
    caplog.set_level(logging.WARNING)
    # Wrong tokens are answered slowly, so they are tried on one path.
    requests = REQUESTS[1:2] if header == "Authorization" else REQUESTS
    if header == "Last-Event-ID":
        requests = ((b"GET", b"/app/events"),)
    texts = [
        request(method, path, (header, value)) for method, path in requests for value in VALUES
    ]
    answers = await asyncio.gather(*(status(site, text) for text in texts))
    assert [code for code in answers if code >= 500] == []
    assert 0 not in answers or header in ("Content-Length", "Transfer-Encoding", "Expect")
    assert [record.message for record in caplog.records if record.exc_info] == []
    assert await status(site, request(b"GET", b"/healthz")) == 200


@pytest.mark.parametrize(
    "target", [b"/%", b"/%ff%fe", b"//[bad", b"*", b"/a?%ff=\x80", b"/" * 9_000]
)
async def test_no_path_causes_a_server_error(
    site: Site, target: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert await status(site, request(b"GET", target)) < 500
    assert [record.message for record in caplog.records if record.exc_info] == []


async def test_a_malformed_origin_is_refused(site: Site) -> None:
    for origin in (b"http://[bad", b"null", b"http://\xff"):
        assert await status(site, request(b"GET", b"/app/session", ("Origin", origin))) == 403


async def test_a_number_too_large_for_the_database_is_refused(site: Site) -> None:
    async with site.person(TOKENS["alice"]) as alice:
        for argument in ("9" * 19, "9" * 200, "turn", "-1", "1.5", "٣"):
            for name in ("stop", "retry", "continue", "undo"):
                body = {"name": name, "argument": argument}
                code, answer = await alice.ask("POST", "/app/commands", body)
                assert (code, answer["error"].partition(": ")[0]) == (422, "body"), argument


@pytest.mark.parametrize(
    ("headers", "codes"),
    [
        ((("X-Forwarded-For", b"203.0.113.7"),), (200, 403)),
        ((("Forwarded", b"for=203.0.113.7"),), (200, 403)),
        ((("Via", b"1.1 vegur"),), (200, 403)),
        ((("CF-Ray", b"1"),), (200, 403)),
        ((("X-Real-IP", b"203.0.113.7"),), (200, 403)),
        ((("X-Forwarded-Proto", b"https"),), (200, 403)),
        ((("Sec-Fetch-Site", b"cross-site"), ("Sec-Fetch-Mode", b"no-cors")), (403, 403)),
        ((("Sec-Fetch-Site", b"same-site"), ("Sec-Fetch-Mode", b"navigate")), (403, 403)),
        ((("Sec-Fetch-Site", b"none"), ("Sec-Fetch-Mode", b"navigate")), (200, 200)),
        ((("Sec-Fetch-Site", b"same-origin"), ("Sec-Fetch-Mode", b"cors")), (200, 200)),
    ],
)
async def test_requests_from_other_sites_and_proxies_are_refused(
    site: Site,
    request_of_site: str,
    headers: tuple[tuple[str, bytes], ...],
    codes: tuple[int, int],
) -> None:
    """Forwarded requests are refused if no tokens are set, and requests from another site's page
    always."""
    expected = codes[request_of_site == "open"]
    assert await status(site, request(b"GET", b"/app/session", *headers)) == expected


async def test_a_link_on_another_site_may_lead_to_the_page(site: Site) -> None:
    there = (("Sec-Fetch-Site", b"cross-site"), ("Sec-Fetch-Mode", b"navigate"))
    assert await status(site, request(b"GET", b"/", *there)) == 200
    assert await status(site, request(b"GET", b"/docs", *there)) == 200


@pytest.fixture
def request_of_site(request: pytest.FixtureRequest) -> str:
    """Which of the two sites the test uses."""
    kind: str = request.node.callspec.params["site"]
    return kind


async def test_no_body_is_read_before_the_token_is_known(site: Site, request_of_site: str) -> None:
    """401 comes immediately, however much of the body is still missing."""
    if request_of_site == "open":
        return
    for token in (b"", b"Bearer ", b"Bearer wrong-token-of-a-stranger"):
        text = request(
            b"POST", b"/api/chat", ("Authorization", token), ("Content-Length", b"1000000")
        )
        assert await status(site, text) == 401
