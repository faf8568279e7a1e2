"""The reader of links over real sockets: what it reads, and its words for what it cannot read."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib

import pytest
from aiohttp import web

from bot.content import link_reader
from bot.domain.attachments import Download, Omission
from bot.domain.errors import AttachmentError
from tests.support.clock import ManualClock
from tests.support.web_sites import LIMIT, Names, Site, make_reader, pages, redirect, reply, serve

PAGE = b"<h1>Release notes</h1>"


def pack(data: bytes) -> bytes:
    """Compress to the same bytes in each test process, because they are part of a test's name."""
    return gzip.compress(data, mtime=0)


async def download(site: Site, path: str = "/", **options: object) -> Download:
    return await make_reader(**options).download(site.url(path), limit=LIMIT)


async def failure(answer: bytes, **options: object) -> AttachmentError:
    async with serve(answer) as site:
        with pytest.raises(AttachmentError) as caught:
            await download(site, **options)
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_page_is_read_from_the_address_that_was_looked_up(host: str) -> None:
    async with serve(reply(PAGE, content_type="Text/HTML; Charset=UTF-8"), host=host) as site:
        names = Names({"page.test": [[host]]})
        found = await download(site, "/notes/today.html?v=2#top", resolve=names)
    assert found == Download(PAGE, "text/html; charset=UTF-8", "today.html")
    assert names.asked == ["page.test"]
    assert site.heads[0].startswith("GET /notes/today.html?v=2 HTTP/1.1\r\n")
    assert f"Host: page.test:{site.port}\r\n" in site.heads[0]


async def test_a_real_server_s_compressed_chunks_are_read() -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_compression()
        await response.prepare(request)
        for _ in range(100):
            await response.write(PAGE * 100)
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        found = await download(Site(runner.addresses[0][1]))
    finally:
        await runner.cleanup()
    assert found.data == PAGE * 10_000


async def test_the_request_says_who_asks_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """It carries no cookie, credential, referrer or proxy, whatever the environment and the server
    say."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", f"{tmp_path}/netrc")
    (tmp_path / "netrc").write_text("default login me password secret")  # type: ignore[operator]
    first = reply(b"", "302 Found", location="/two", set_cookie="id=1; Path=/")
    async with serve(pages({"/": first, "/two": reply(PAGE)})) as site:
        reader = make_reader()
        await reader.download(site.url("/"), limit=LIMIT)
        await reader.download(site.url("/two"), limit=LIMIT)
    names = [sorted(line.partition(":")[0] for line in h.split("\r\n")[1:-2]) for h in site.heads]
    assert names == [["Accept", "Accept-Encoding", "Connection", "Host", "User-Agent"]] * 3
    assert "User-Agent: Threadline (" in site.heads[0]


async def test_words_of_any_script_in_an_address_are_encoded() -> None:
    async with serve(reply(PAGE)) as site:
        names = Names({"xn--r8jz45g.test": [["127.0.0.1"]]})
        await make_reader(resolve=names).download(
            site.url("/日本?q=ü x".replace(" ", "%20"), host="例え.test"), limit=LIMIT
        )
    assert names.asked == ["xn--r8jz45g.test"]
    assert site.heads[0].startswith("GET /%E6%97%A5%E6%9C%AC?q=%C3%BC%20x HTTP/1.1")
    assert f"Host: xn--r8jz45g.test:{site.port}" in site.heads[0]


async def test_an_ipv6_literal_is_read() -> None:
    async with serve(reply(PAGE), host="::1") as site:
        names = Names({})
        found = await make_reader(resolve=names).download(site.url("/", "[::1]"), limit=LIMIT)
    assert found.data == PAGE
    assert names.asked == []
    assert f"Host: [::1]:{site.port}" in site.heads[0]


async def test_the_next_address_is_tried_if_the_first_does_not_answer() -> None:
    async with serve(reply(PAGE)) as site:
        names = Names({"page.test": [["::1", "127.0.0.1"]]})
        assert (await download(site, resolve=names)).data == PAGE


async def test_interim_responses_are_skipped() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    async with serve(b"HTTP/1.1 100 Continue\r\n\r\n" + interim + reply(PAGE)) as site:
        assert (await download(site)).data == PAGE


# ── redirects ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x"])
async def test_redirects_are_followed(status: str) -> None:
    answers = {"/a/b": redirect("../c?x=1", status), "/c?x=1": reply(PAGE)}
    async with serve(pages(answers)) as site:
        found = await download(site, "/a/b")
    assert (found.data, found.name) == (PAGE, "c")


async def test_five_redirects_are_followed_and_no_more() -> None:
    answers = {f"/{n}": redirect(f"/{n - 1}") for n in range(1, 7)} | {"/0": reply(PAGE)}
    async with serve(pages(answers)) as site:
        assert (await download(site, "/5")).data == PAGE
        with pytest.raises(AttachmentError, match="too many redirects") as caught:
            await download(site, "/6")
    assert caught.value.omission is Omission.UNREACHABLE
    assert caught.value.retry_after is None


async def test_a_redirect_loop_ends() -> None:
    async with serve(redirect("/")) as site:
        with pytest.raises(AttachmentError, match="too many redirects"):
            await download(site)
    assert site.connections == link_reader.MAX_REDIRECTS + 1


async def test_a_redirect_without_a_target_is_no_page() -> None:
    assert (await failure(reply(PAGE, "302 Found"))).omission is Omission.UNREACHABLE


@pytest.mark.parametrize(
    "body", [b'<meta http-equiv="refresh" content="0; url=/two">', b"<form>Log in</form>"]
)
async def test_pages_that_lead_elsewhere_are_taken_as_they_are(body: bytes) -> None:
    async with serve(reply(body, refresh="0; url=/two")) as site:
        assert (await download(site)).data == body
    assert site.connections == 1


# ── failures ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("status", "omission", "retry_after"),
    [
        ("204 No Content", Omission.EMPTY, None),
        ("206 Partial Content", Omission.UNREACHABLE, None),
        ("300 Multiple Choices", Omission.UNREACHABLE, None),
        ("304 Not Modified", Omission.UNREACHABLE, None),
        ("400 Bad Request", Omission.UNREACHABLE, None),
        ("401 Unauthorized", Omission.NO_ACCESS, None),
        ("403 Forbidden", Omission.NO_ACCESS, None),
        ("404 Not Found", Omission.GONE, None),
        ("410 Gone", Omission.GONE, None),
        ("418 Teapot", Omission.UNREACHABLE, None),
        ("429 Too Many Requests", Omission.UNREACHABLE, link_reader.RETRY_SECONDS),
        ("451 Legal", Omission.NO_ACCESS, None),
        ("500 Oops", Omission.UNREACHABLE, link_reader.RETRY_SECONDS),
        ("503 Busy", Omission.UNREACHABLE, link_reader.RETRY_SECONDS),
        ("999 Denied", Omission.UNREACHABLE, link_reader.RETRY_SECONDS),
    ],
)
async def test_a_status_becomes_a_reason(
    status: str, omission: Omission, retry_after: float | None
) -> None:
    error = await failure(reply(b"", status))
    assert (error.omission, error.retry_after) == (omission, retry_after)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0", 1.0),
        ("99999999999", link_reader.LONGEST_RETRY_SECONDS),
        ("Thu, 01 Jan 1970 00:17:40 GMT", 60.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1.0),
        ("soon", link_reader.RETRY_SECONDS),
        ("-5", link_reader.RETRY_SECONDS),
        ("٣", 3.0),
    ],
)
async def test_a_server_says_when_to_try_again(value: str, seconds: float) -> None:
    answer = f"HTTP/1.1 429 x\r\nRetry-After: {value}\r\n\r\n".encode()
    error = await failure(answer, clock=ManualClock(1_000.0))
    if value == "٣":  # arrives as Latin-1 and is no number
        seconds = link_reader.RETRY_SECONDS
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "try again"), link_reader.RETRY_SECONDS),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), None),
        (OSError("no network"), link_reader.RETRY_SECONDS),
    ],
)
async def test_a_failed_lookup_is_tried_again_unless_the_host_does_not_exist(
    error: OSError, retry_after: float | None
) -> None:
    reader = make_reader(resolve=Names({"page.test": [error]}))
    with pytest.raises(AttachmentError) as caught:
        await reader.download("http://page.test/", limit=LIMIT)
    assert caught.value.omission is Omission.UNREACHABLE
    assert caught.value.retry_after == retry_after


async def test_a_host_without_an_address_is_unreachable() -> None:
    with pytest.raises(AttachmentError, match="no address"):
        await make_reader(resolve=Names({"page.test": [[]]})).download(
            "http://page.test/", limit=LIMIT
        )


async def test_a_refused_connection_may_be_tried_again() -> None:
    async with serve(b"") as site:
        pass
    with pytest.raises(AttachmentError) as caught:
        await download(site)
    assert caught.value.omission is Omission.UNREACHABLE
    assert caught.value.retry_after == link_reader.RETRY_SECONDS


# ── kinds ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("content_type", "path"),
    [
        ("text/html", "/"),
        ("text/x-unheard-of", "/"),
        ("application/xhtml+xml", "/"),
        ("application/pdf", "/"),
        ("application/json; charset=utf-8", "/"),
        ("application/ld+json", "/"),
        ("application/problem+json", "/"),
        ("application/atom+xml", "/"),
        ("image/png", "/"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "/"),
        ("application/vnd.oasis.opendocument.text", "/"),
        ("application/vnd.ms-excel", "/"),
        ("application/octet-stream", "/report.PDF"),
        ("binary/octet-stream", "/data/rows.csv"),
        ("", "/"),
        ("nonsense", "/"),
        ("text/html, text/plain", "/"),
    ],
)
async def test_readable_kinds_are_downloaded(content_type: str, path: str) -> None:
    async with serve(reply(PAGE, content_type=content_type)) as site:
        assert (await download(site, path)).data == PAGE


@pytest.mark.parametrize(
    ("content_type", "path"),
    [
        ("video/mp4", "/"),
        ("audio/mpeg", "/"),
        ("application/zip", "/"),
        ("application/x-msdownload", "/setup.exe"),
        ("application/octet-stream", "/image.iso"),
        ("application/octet-stream", "/"),
        ("font/woff2", "/"),
        ("multipart/x-mixed-replace; boundary=x", "/"),
    ],
)
async def test_other_kinds_are_refused_before_their_bytes(content_type: str, path: str) -> None:
    async def endless(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(content_type=content_type, length=False))
        await asyncio.Event().wait()

    async with serve(endless) as site:
        with pytest.raises(AttachmentError) as caught:
            await download(site, path)
    assert caught.value.omission is Omission.UNSUPPORTED


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('attachment; filename="report.pdf"', "report.pdf"),
        ("attachment; filename*=UTF-8''%e2%82%ac%20rates.csv", "€ rates.csv"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\temp\\\\a.txt"', "a.txt"),
        ("attachment; filename*=nonsense''%ff.csv", None),
        ('inline; filename=".."', ""),
        ("", "page.html"),
        (f'attachment; filename="{"x" * 900}.csv"', "x" * 96 + ".csv"),
    ],
)
async def test_the_name_is_never_a_path(value: str, name: str | None) -> None:
    async with serve(reply(PAGE, content_disposition=value)) as site:
        found = (await download(site, "/a/page.html")).name
    assert len(found) <= 100
    assert not set("/\\\r\n") & set(found)
    if name is not None:
        assert found == name


# ── encodings ─────────────────────────────────────────────────────────────────────────────────
def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", pack(PAGE)),
        ("x-gzip", pack(PAGE)),
        ("GZIP ", pack(PAGE)),
        ("deflate", zlib.compress(PAGE)),
        ("deflate", _raw_deflate(PAGE)),
        ("identity", PAGE),
        ("gzip", pack(PAGE) + b"trailing garbage"),
    ],
)
async def test_encodings_are_undone(encoding: str, body: bytes) -> None:
    async with serve(reply(body, content_encoding=encoding)) as site:
        assert (await download(site)).data == PAGE


@pytest.mark.parametrize(
    ("encoding", "body", "omission"),
    [
        ("gzip", PAGE, Omission.DAMAGED),
        ("gzip", pack(PAGE)[:-4], Omission.DAMAGED),
        ("deflate", b"\xff" * 100, Omission.DAMAGED),
        ("br", PAGE, Omission.UNSUPPORTED),
        ("zstd", PAGE, Omission.UNSUPPORTED),
        ("gzip, gzip", pack(pack(PAGE)), Omission.UNSUPPORTED),
        ("gzip", b"", Omission.EMPTY),
        ("", b"", Omission.EMPTY),
        ("gzip", pack(b""), Omission.EMPTY),
    ],
)
async def test_what_cannot_be_unpacked_has_a_reason(
    encoding: str, body: bytes, omission: Omission
) -> None:
    assert (await failure(reply(body, content_encoding=encoding))).omission is omission


# ── slots ─────────────────────────────────────────────────────────────────────────────────────
async def test_a_host_gets_two_requests_at_a_time_and_all_hosts_eight() -> None:
    """The limits hold on the server, and no download fails because of them."""
    running: dict[str, int] = {}
    most: dict[str, int] = {}
    release = asyncio.Event()
    full = asyncio.Event()

    async def hold(path: str, writer: asyncio.StreamWriter) -> None:
        for key in (path, "all"):
            running[key] = running.get(key, 0) + 1
            most[key] = max(most.get(key, 0), running[key])
        if running["all"] == link_reader.MAX_REQUESTS:
            full.set()
        await release.wait()
        for key in (path, "all"):
            running[key] -= 1
        writer.write(reply(PAGE))

    async with serve(hold) as site, asyncio.TaskGroup() as group:
        reader = make_reader()
        hosts = [f"h{n % 6}" for n in range(24)]
        tasks = [
            group.create_task(reader.download(site.url(f"/{h}", f"{h}.test"), limit=LIMIT))
            for h in hosts
        ]
        await full.wait()
        release.set()
    assert [task.result().data for task in tasks] == [PAGE] * 24
    assert most.pop("all") == link_reader.MAX_REQUESTS
    assert max(most.values()) == link_reader.MAX_REQUESTS_PER_HOST


async def test_requests_that_wait_for_a_slow_host_do_not_hold_up_others() -> None:
    release = asyncio.Event()

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/slow":
            await release.wait()
        writer.write(reply(PAGE))

    async with serve(answer) as site, asyncio.TaskGroup() as group:
        reader = make_reader()
        for _ in range(3 * link_reader.MAX_REQUESTS):
            group.create_task(reader.download(site.url("/slow", "slow.test"), limit=LIMIT))
        assert (await reader.download(site.url("/"), limit=LIMIT)).data == PAGE
        release.set()


async def test_waiting_for_a_slot_does_not_count_as_the_server_s_time() -> None:
    """The third request begins when the first two have used up their time, and still gets its full
    time."""
    waiting: list[str] = []

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        waiting.append("")
        if len(waiting) <= link_reader.MAX_REQUESTS_PER_HOST:
            await asyncio.Event().wait()
        writer.write(reply(PAGE))

    async with serve(answer) as site:
        reader = make_reader(seconds=1.5)
        results = await asyncio.gather(
            *(reader.download(site.url(), limit=LIMIT) for _ in range(3)), return_exceptions=True
        )
    failed = [each.omission for each in results if isinstance(each, AttachmentError)]
    assert failed == [Omission.TIMED_OUT] * 2
    assert results[2] == Download(PAGE, "text/html", "")


async def test_idle_hosts_leave_nothing_behind() -> None:
    async with serve(reply(PAGE)) as site:
        reader = make_reader()
        for n in range(5):
            await reader.download(site.url("/", f"h{n}.test"), limit=LIMIT)
    assert not reader._slots._hosts
    assert not reader._slots._users
