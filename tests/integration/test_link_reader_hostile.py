"""Hostile servers and name servers: what the reader of links connects to, reads and keeps in
memory."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.content import link_reader, web_response
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError
from tests.support.web_sites import (
    ANY_PORT,
    LIMIT,
    Answer,
    Names,
    Site,
    make_reader,
    pages,
    redirect,
    reply,
    serve,
)

PAGE = b"<h1>Release notes</h1>"


def pack(data: bytes) -> bytes:
    """Compress to the same bytes in each test process, because they are part of a test's name."""
    return gzip.compress(data, mtime=0)


ZEROS = bytes(50_000_000)


async def fail(site: Site, path: str = "/", **options: object) -> AttachmentError:
    limit = options.pop("limit", LIMIT)
    with pytest.raises(AttachmentError) as caught:
        await make_reader(**options).download(site.url(path), limit=limit)  # type: ignore[arg-type]
    return caught.value


@pytest.fixture
def no_system_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*args: object, **_: object) -> None:
        raise AssertionError(f"a second lookup: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


# ── name servers ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("no_system_lookups")
async def test_a_name_that_changes_its_address_is_looked_up_once() -> None:
    """The connection goes to the address that was checked, not to the next answer."""
    async with serve(reply(PAGE)) as site:
        names = Names({"page.test": [["127.0.0.1"], ["10.0.0.1"]]})
        found = await make_reader(resolve=names).download(site.url(), limit=LIMIT)
        assert found.data == PAGE
        assert names.asked == ["page.test"]
        assert (await fail(site, resolve=names)).omission is Omission.FORBIDDEN_ADDRESS
    assert site.connections == 1


@pytest.mark.usefixtures("no_system_lookups")
async def test_a_redirect_to_the_same_host_is_looked_up_and_checked_again() -> None:
    async with serve(pages({"/": redirect("/two"), "/two": reply(PAGE)})) as site:
        names = Names({"page.test": [["127.0.0.1"], ["10.0.0.1"]]})
        assert (await fail(site, resolve=names)).omission is Omission.FORBIDDEN_ADDRESS
    assert site.connections == 1


@pytest.mark.parametrize(
    "answer",
    [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "::ffff:127.0.0.1"]],
)
async def test_one_forbidden_address_refuses_the_host(answer: list[str]) -> None:
    async with serve(reply(PAGE)) as site:
        error = await fail(site, resolve=Names({"page.test": [answer]}))
    assert error.omission is Omission.FORBIDDEN_ADDRESS
    assert error.retry_after is None
    assert site.connections == 0


# ── redirects ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "to",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://inside.test:{port}/",
        "http://localhost:{port}/",
        "http://2130706433:{port}/",
        "http://127.1:{port}/",
        "//10.0.0.1/",
        "http://me:secret@page.test:{port}/two",
        "//me@page.test:{port}/two",
        "file:///etc/passwd",
        "ftp://page.test/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "javascript:alert(1)",
        "data:text/html,hello",
        "http://page.test:0/",
    ],
)
async def test_a_redirect_leads_nowhere_that_a_link_may_not(to: str) -> None:
    answers: dict[str, bytes] = {"/two": reply(b"secret")}
    async with serve(pages(answers)) as site:
        answers["/"] = redirect(to.format(port=site.port))
        error = await fail(site, resolve=Names({"inside.test": [["192.168.1.1"]]}))
    assert error.omission is Omission.FORBIDDEN_ADDRESS
    assert site.connections == 1


@pytest.mark.parametrize(
    "to",
    ["http://", "http://[::1", "http://a:b:c/", "http://a.test:99999/", "http://\\evil/", "\xff"],
)
async def test_a_malformed_redirect_ends_the_download(to: str) -> None:
    async with serve(pages({"/": redirect(to)})) as site:
        error = await fail(site)
    assert error.omission in (Omission.UNREACHABLE, Omission.FORBIDDEN_ADDRESS, Omission.GONE)
    assert error.retry_after is None


async def test_a_redirect_obeys_the_lists_of_hosts_and_ports() -> None:
    answers: dict[str, bytes] = {}
    async with serve(pages(answers)) as site:
        answers["/"] = redirect(site.url("/two", "denied.test"))
        error = await fail(site, denied_hosts=["denied.test"])
        assert error.omission is Omission.FORBIDDEN_ADDRESS
        answers["/"] = redirect("http://page.test:6379/")
        error = await fail(site, ports={site.port})
        assert error.omission is Omission.FORBIDDEN_ADDRESS
    assert site.connections == 2


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────
def endless(head: bytes, piece: bytes) -> Answer:
    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # `drain` does not yield while there is room

    return answer


CHUNKED = reply(length=False, transfer_encoding="chunked")


@pytest.mark.parametrize(
    ("head", "piece", "omission"),
    [
        (reply(length=False), b"x" * 10_000, Omission.TOO_LARGE),
        (CHUNKED, b"3e8\r\n" + b"x" * 1_000 + b"\r\n", Omission.TOO_LARGE),
        (CHUNKED, b"1\r\nx\r\n" * 1_000, Omission.TOO_COSTLY),
        (CHUNKED, b"1;" + b"x" * 1_000 + b"\r\nx\r\n", Omission.TOO_LARGE),
        (CHUNKED + b"1;", b"x" * 1_000, Omission.UNREACHABLE),
        (CHUNKED + b"0\r\n", b"X: " + b"x" * 1_000 + b"\r\n", Omission.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 1_000 + b"\r\n", Omission.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", Omission.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 10_000, Omission.UNREACHABLE),
        (b"", b"\r\n" * 1_000, Omission.UNREACHABLE),
        (b"", b"garbage" * 1_000, Omission.UNREACHABLE),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, Omission.UNREACHABLE),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 100, Omission.UNREACHABLE),
        (reply(length=False, content_encoding="gzip"), b"x" * 10_000, Omission.DAMAGED),
        (
            reply(length=False, content_encoding="deflate") + b"\x78\x9c",
            b"\x00\x00\x00\xff\xff" * 1_000,  # blocks that contain nothing
            Omission.TOO_LARGE,
        ),
    ],
)
async def test_an_endless_response_is_given_up(
    head: bytes, piece: bytes, omission: Omission
) -> None:
    async with serve(endless(head, piece)) as site:
        error = await fail(site, limit=100_000)
    assert error.omission is omission
    assert error.retry_after is None


async def test_a_response_without_an_end_costs_no_more_than_twice_its_limit() -> None:
    sent = 0

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(reply(length=False, content_encoding="deflate") + b"\x78\x9c")
        while True:
            writer.write(b"\x00\x00\x00\xff\xff" * 1_000)
            await writer.drain()
            sent += 5_000

    async with serve(answer) as site:
        await fail(site, limit=1_000_000)
    assert sent < 2_000_000 + 10_000_000  # the rest is in socket buffers


async def test_a_declared_length_beyond_the_limit_is_refused_without_reading() -> None:
    async with serve(endless(reply(content_length="100001"), b"x")) as site:
        error = await fail(site, limit=100_000)
    assert error.omission is Omission.TOO_LARGE


@pytest.mark.parametrize("length", ["9" * 500, "-1", "1e3", "0x10", "5, 6", ""])
async def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n"
    async with serve(head.encode() + PAGE) as site:
        assert (await fail(site)).omission in (Omission.UNREACHABLE, Omission.TOO_LARGE)


async def test_a_body_shorter_than_declared_may_be_tried_again() -> None:
    async with serve(reply(PAGE, content_length="1000")) as site:
        error = await fail(site)
    assert error.omission is Omission.UNREACHABLE
    assert error.retry_after == link_reader.RETRY_SECONDS


async def test_a_body_longer_than_declared_is_cut_there() -> None:
    async with serve(reply(PAGE, content_length="4")) as site:
        found = await make_reader().download(site.url(), limit=LIMIT)
    assert found.data == PAGE[:4]


@pytest.mark.parametrize(
    ("body", "omission", "again"),
    [
        (b"5\r\nhello\r\n", Omission.UNREACHABLE, True),
        (b"zz\r\nhello\r\n", Omission.UNREACHABLE, False),
        (b"-5\r\nhello\r\n", Omission.UNREACHABLE, False),
        (b"fffffffffffffffffffffffff\r\nhello", Omission.UNREACHABLE, False),
        (b"fffffffffffffffffff\r\nhello", Omission.UNREACHABLE, True),
        (b"5\r\nhello!\r\n0\r\n\r\n", Omission.UNREACHABLE, False),
        (b"0\r\n\r\n", Omission.EMPTY, False),
    ],
)
async def test_broken_chunks_have_a_reason(body: bytes, omission: Omission, again: bool) -> None:
    async with serve(CHUNKED + body) as site:
        error = await fail(site)
    assert (error.omission, error.retry_after is not None) == (omission, again)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-", b"hello\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"\0" * 99],
)
async def test_an_answer_that_is_not_http_is_unreachable(answer: bytes) -> None:
    async with serve(answer) as site:
        assert (await fail(site)).omission is Omission.UNREACHABLE


async def test_switching_protocols_is_no_page() -> None:
    answer = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nxx"
    async with serve(answer) as site:
        assert (await fail(site)).omission is Omission.UNREACHABLE


# ── bombs ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("encoding", "packed", "omission"),
    [  # packed in the test: every process of a run imports this module
        ("gzip", lambda: pack(ZEROS), Omission.EXPANDS),
        ("deflate", lambda: zlib.compress(ZEROS, 9), Omission.EXPANDS),
        ("gzip", lambda: pack(pack(ZEROS)), None),
        ("gzip", lambda: gzip.compress(bytes(range(256)) * 500, 0), Omission.TOO_LARGE),
        ("br", lambda: b"\x5b\xff\xff\x03" * 100, Omission.UNSUPPORTED),
    ],
    ids=["gzip", "deflate", "nested", "stored", "brotli"],
)
async def test_a_compression_bomb_is_not_unpacked(
    encoding: str, packed: Callable[[], bytes], omission: Omission | None
) -> None:
    async with serve(reply(packed(), content_encoding=encoding)) as site:
        if omission is None:  # only the outer layer is undone
            found = await make_reader().download(site.url(), limit=100_000)
            assert found.data[:2] == b"\x1f\x8b"
        else:
            assert (await fail(site, limit=100_000)).omission is omission


# ── time ──────────────────────────────────────────────────────────────────────────────────────
def trickle(head: bytes, piece: bytes = b"x") -> Answer:
    """Send a piece every few milliseconds, so that no single wait is long."""

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(piece)

    return answer


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (reply(length=False), b"x"),
        (reply(content_length="1000"), b""),
        (CHUNKED, b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
        (b"", b""),
        (reply(length=False, content_encoding="gzip") + pack(PAGE)[:10], b""),
    ],
)
async def test_a_slow_response_ends_with_the_time(head: bytes, piece: bytes) -> None:
    async with serve(trickle(head, piece)) as site:
        error = await fail(site, seconds=0.3)
    assert (error.omission, error.retry_after) == (Omission.TIMED_OUT, None)


async def test_redirects_share_the_time() -> None:
    """Each of the five redirects takes a third of the time."""

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(redirect(f"/{int(path[1:] or 0) + 1}"))

    async with serve(answer) as site:
        error = await fail(site, seconds=0.6)
    assert error.omission is Omission.TIMED_OUT
    assert site.connections <= 3


async def test_a_lookup_without_an_answer_ends_with_the_time() -> None:
    async def never(_host: str) -> list[object]:
        await asyncio.Event().wait()
        return []

    async with serve(b"") as site:
        error = await fail(site, resolve=never, seconds=0.1)
    assert error.omission is Omission.TIMED_OUT


async def test_a_cancelled_download_closes_its_connection() -> None:
    closed = asyncio.Event()
    arrived = asyncio.Event()

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        writer.write(reply(length=False))
        try:
            while True:
                writer.write(b"x" * 1_000)
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            closed.set()
            raise

    async with serve(answer) as site:
        download = asyncio.create_task(make_reader().download(site.url(), limit=100_000_000))
        await arrived.wait()
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download
        await closed.wait()


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────
OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for page.test and 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = "subjectAltName=DNS:page.test,IP:127.0.0.1"
    command = f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=page.test -addext"
    subprocess.run(
        [*command.split(), names, "-out", cert, "-keyout", key], check=True, capture_output=True
    )
    return cert, key


@pytest.fixture
async def secure_site(
    certificate: tuple[Path, Path],
) -> AsyncIterator[tuple[Site, ssl.SSLContext, list[str | None]]]:
    cert, key = certificate
    asked: list[str | None] = []
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert, key)
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with serve(pages({"/": reply(PAGE), "/down": redirect("/")}), tls=server) as site:
        yield site, ssl.create_default_context(cafile=str(cert)), asked


Secure = tuple[Site, ssl.SSLContext, list[str | None]]


@needs_openssl
async def test_tls_is_checked_for_the_host_of_the_link(secure_site: Secure) -> None:
    """The connection goes to an address, but the certificate must be the host's."""
    site, trusted, asked = secure_site
    found = await make_reader(tls=trusted).download(site.url("/", scheme="https"), limit=LIMIT)
    assert found.data == PAGE
    assert asked == ["page.test"]
    await make_reader(tls=trusted).download(site.url("/", "127.0.0.1", "https"), limit=LIMIT)
    with pytest.raises(AttachmentError, match=r"other\.test") as caught:
        await make_reader(tls=trusted).download(site.url("/", "other.test", "https"), limit=LIMIT)
    assert (caught.value.omission, caught.value.retry_after) == (Omission.UNREACHABLE, None)
    assert len(site.heads) == 2


@needs_openssl
async def test_a_certificate_of_an_unknown_issuer_is_refused(secure_site: Secure) -> None:
    site, _, _ = secure_site
    with pytest.raises(AttachmentError, match="certificate verify failed") as caught:
        await make_reader().download(site.url("/", scheme="https"), limit=LIMIT)
    assert (caught.value.omission, caught.value.retry_after) == (Omission.UNREACHABLE, None)
    assert site.heads == []


async def test_a_server_without_tls_is_refused() -> None:
    async with serve(b"", greeting=b"220 mail.test ready\r\n") as site:
        with pytest.raises(AttachmentError) as caught:
            await make_reader().download(site.url("/", scheme="https"), limit=LIMIT)
    assert caught.value.omission is Omission.UNREACHABLE


async def test_a_tls_handshake_without_an_answer_ends_with_the_time() -> None:
    async with serve(b"") as site:  # waits for the end of a request that never ends
        with pytest.raises(AttachmentError) as caught:
            await make_reader(seconds=0.3).download(site.url("/", scheme="https"), limit=LIMIT)
    assert caught.value.omission is Omission.TIMED_OUT


# ── this machine ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("here", "there", "own"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("2001:db8::7", "2001:db8::7", True),
        ("192.168.0.2", "192.0.2.7", False),
        ("127.0.0.1", "127.0.0.1", False),  # only reached if a test permits it
    ],
)
def test_the_machine_s_public_address_is_recognized(here: str, there: str, own: bool) -> None:
    assert web_response.is_own_address(here, there) is own


def test_the_default_connects_to_nothing_but_public_addresses() -> None:
    reader = link_reader.PublicLinkReader(clock=make_reader()._clock)
    assert reader._is_allowed_address is link_reader.is_public
    assert reader._ports == {80, 443, 8080, 8443}
    assert 22 in ANY_PORT
