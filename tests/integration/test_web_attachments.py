"""Files in programs' requests, and their bytes in responses, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from adapters.web.limits import BODY_BYTES, UploadLimits
from adapters.web.uploads import UploadBudget
from tests.sims.model.client import ModelSim
from tests.support.small_files import png
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Site, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = png()
TEXT = b"12:00 service restarted\n"


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(data: str, name: str | None = None) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": data}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def form(*files: tuple[str, str, bytes], **fields: str) -> aiohttp.FormData:
    """A form with fields and files, given by name, media type and bytes."""
    made = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
    for name, value in fields.items():
        made.add_field(name, value)
    for name, kind, data in files:
        made.add_field("files", io.BytesIO(data), filename=name, content_type=kind)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("attachments")
    limits = {"ATTACHMENT_MAX_MB": "3", "ATTACHMENTS_PER_MESSAGE": "3"}
    async with serving(folder, HTTP_TOKENS=HTTP_TOKENS, **limits) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def api(site: Site) -> AsyncIterator[Person]:
    async with site.person(TOKENS["alice"]) as person:
        yield person


async def begin(api: Person) -> str:
    identity: str = (await api.post("/conversation"))["id"]
    return identity


async def send(api: Person, path: str, body: aiohttp.FormData) -> tuple[int, Any]:
    async with api.http.post(path, data=body) as response:
        return response.status, await response.json()


async def send_json(api: Person, path: str, body: Any) -> tuple[int, Any]:
    """A large body, which aiohttp wants to read from a file."""
    kind, data = {"Content-Type": "application/json"}, io.BytesIO(json.dumps(body).encode())
    async with api.http.post(path, data=data, headers=kind) as response:
        return response.status, await response.json()


async def attachments(api: Person, conversation: str) -> list[dict[str, Any]]:
    records = await api.get(f"/conversation/{conversation}/messages")
    return [each for record in records for each in record["attachments"]]


async def content(
    api: Person, identity: str, query: str = ""
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with api.http.get(f"/attachments/{identity}{query}") as response:
        return response, await response.read()


# ── sending files ─────────────────────────────────────────────────────────────────────────────
async def test_files_in_a_form_are_stored_with_their_question(api: Person) -> None:
    conversation = await begin(api)
    body = form(
        ("shot.png", "image/png", PICTURE),
        ("app.log", "text/plain; charset=utf-8", TEXT),
        message="What happened?",
    )
    status, answer = await send(api, f"/conversation/completion/{conversation}", body)
    assert status == 200, answer
    assert "What happened?" in answer["content"]
    first, second = await attachments(api, conversation)
    assert set(first) == {"id", "name", "media_type", "size", "state", "problem", "is_link"}
    assert (first["name"], first["media_type"], first["size"]) == (
        "shot.png", "image/png", len(PICTURE),
    )  # fmt: skip
    assert (second["name"], second["media_type"]) == ("app.log", "text/plain")
    assert (first["problem"], first["is_link"]) == (None, False)
    assert (await content(api, second["id"]))[1] == TEXT


async def test_parts_of_openais_chat_api_are_a_message(api: Person) -> None:
    """Texts, pictures and files as data URLs or base64, and an address as a link."""
    conversation = await begin(api)
    parts = [
        text("What is this?"),
        image(data_url(PICTURE)),
        file(base64.b64encode(TEXT).decode(), "../../etc/app.log"),
        image("https://example.com/a.png"),
        text("And that?"),
    ]
    path = f"/conversation/completion/{conversation}"
    await api.post(path, {"message": parts})
    records = await api.get(f"/conversation/{conversation}/messages")
    assert records[0]["content"] == "What is this?\n\nAnd that?"
    found = records[0]["attachments"]
    assert [(each["name"], each["size"], each["is_link"]) for each in found] == [
        ("image.png", len(PICTURE), False),
        ("app.log", len(TEXT), False),
        ("https://example.com/a.png", None, True),
    ]


async def test_a_prompt_takes_files_and_names_its_conversation_after_one(api: Person) -> None:
    chosen = f"case-{uuid.uuid4()}"
    status, _ = await send(api, "/api/chat", form(("a.txt", "text/plain", b"A"), id=chosen))
    assert status == 200
    await api.post("/api/chat", {"id": chosen, "prompt": [text("and"), file("Qg==", "b.txt")]})
    listed = await api.get("/conversation?limit=1")
    details = await api.get(f"/conversation/{listed[0]['id']}")
    assert details["name"] == "a.txt"
    assert [each["name"] for each in await attachments(api, listed[0]["id"])] == ["a.txt", "b.txt"]


async def test_an_answer_to_a_form_can_be_streamed(api: Person) -> None:
    path = f"/conversation/completion/{await begin(api)}"
    body = form(("a.txt", "text/plain", b"A"), message="stream it", stream="true")
    async with api.http.post(path, data=body) as response:
        assert response.content_type == "text/event-stream"
        assert "event: done" in await response.text()


# ── refusals ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("part", "place", "words"),
    [
        (image("data:image/png;base64,@@@"), "1.image_url.url", "not base64"),
        (image("data:image/png"), "1.image_url.url", "Write a data URL"),
        (image("ftp://example.com/a"), "1.image_url.url", "String should match pattern"),
        (image("https://"), "1.image_url.url", "an address that begins"),
        (image("http://[::1/x"), "1.image_url.url", "an address that begins"),
        (file("not base64!"), "1.file.file_data", "not base64"),
        ({"type": "video", "video": {}}, "1", "does not match any of the expected tags"),
        ({"type": "file", "file": {"file_id": "f-1"}}, "1.file.file_data", "Field required"),
    ],
)
async def test_a_wrong_part_is_422_with_its_place_and_one_sentence(
    api: Person, part: dict[str, Any], place: str, words: str
) -> None:
    path = f"/conversation/completion/{await begin(api)}"
    status, answer = await api.ask("POST", path, {"message": [text("see"), part]})
    assert status == 422, answer
    where = ".".join(str(each) for each in answer["detail"][0]["loc"])
    assert where.startswith("body.message")
    assert place in where
    assert words in answer["error"]


async def test_files_beyond_the_limits_are_422(api: Person) -> None:
    path = f"/conversation/completion/{await begin(api)}"
    many = [("a.txt", "text/plain", b"A")] * 4
    status, answer = await send(api, path, form(*many, message="see"))
    assert (status, answer["error"]) == (422, "files: A message may have 3 files at most.")
    parts = [file("QQ==")] * 4
    status, answer = await api.ask("POST", path, {"message": parts})
    assert (status, answer["error"]) == (422, "message: A message may have 3 files at most.")
    encoded = {"message": [file(base64.b64encode(b"x" * 3_000_001).decode(), "big.bin")]}
    status, answer = await send_json(api, path, encoded)
    assert status == 422
    assert answer["error"] == "message: “big.bin” is too large: a file may have 3 MB at most."
    large = ("big.bin", "application/octet-stream", b"x" * 3_000_001)
    status, answer = await send(api, path, form(large, message="see"))
    assert status == 422
    assert answer["error"] == "files.0: “big.bin” is too large: a file may have 3 MB at most."
    assert await attachments(api, path.rpartition("/")[2]) == []


async def test_a_message_needs_a_text_or_a_file(api: Person) -> None:
    path = f"/conversation/completion/{await begin(api)}"
    status, answer = await send(api, path, form(stream="false"))
    assert (status, answer["error"]) == (422, "message: Write a message, or attach a file.")
    status, answer = await api.ask("POST", path, {"message": []})
    assert status == 422


async def test_a_form_that_is_none_is_422(api: Person) -> None:
    path = f"/conversation/completion/{await begin(api)}"
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        async with api.http.post(
            path, data=b"--y\r\n!", headers={"Content-Type": kind}
        ) as response:
            assert response.status == 422
            assert (await response.json())["error"] == "body: This is not multipart/form-data."


async def test_bodies_over_their_limit_are_413(api: Person) -> None:
    """Both the announced length and the bytes that arrive are checked."""
    limits = UploadLimits(3, 3_000_000)
    path = f"/conversation/completion/{await begin(api)}"
    most = limits.body_bytes(path, "multipart/form-data; boundary=x")
    assert most == 9_000_000 + BODY_BYTES

    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        while True:
            yield b"x" * 65_536

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    async with api.http.post(path, data=endless(), headers=kind) as response:
        assert response.status == 413
        assert (await response.json())["error"] == f"A request may have {most:,} bytes at most."
    async with api.http.post(path, data=io.BytesIO(b"x" * (most + 1)), headers=kind) as response:
        assert response.status == 413


async def test_nothing_is_read_without_a_token(site: Site) -> None:
    async with site.person("wrong-token-of-16-too") as stranger:
        body = form(("a.txt", "text/plain", b"x" * 2_000_000), prompt="see")
        status, _ = await send(stranger, "/api/chat", body)
        assert status == 401


async def test_foreign_pages_can_send_no_form(api: Person) -> None:
    """A form is a simple request, which browsers send to other sites without asking."""
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        async with api.http.post("/api/chat", data=form(prompt="see"), headers=headers) as response:
            assert response.status == 403


async def test_where_files_are_off_they_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, ATTACHMENT_MAX_MB="0") as site, site.person() as api:
        body = form(("a.txt", "text/plain", b"A"), prompt="see")
        status, answer = await send(api, "/api/chat", body)
        assert (status, answer["error"]) == (422, "files: This server takes no files.")
        assert (await api.get("/app/session"))["files"]["most"] == 0


async def test_the_bytes_of_all_requests_are_bounded_and_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests over the common budget get 503; its space is free again once a message is stored."""
    limits = {
        "ATTACHMENT_MAX_MB": "3",
        "ATTACHMENTS_PER_MESSAGE": "2",
        "ATTACHMENT_WAIT_SECONDS": "0",
    }
    size, most = 3_000_000, 5_000_000  # small: a slow body ends after 30 seconds
    held = most // (size - BODY_BYTES)
    budget = UploadBudget(most)
    monkeypatch.setattr("adapters.web.site.UploadBudget", lambda: budget)
    async with serving(tmp_path, **limits) as site, site.person() as api:
        begun = asyncio.Semaphore(0)
        go_on = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield (b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n')
            for _ in range(size // 1_000_000):
                yield b"x" * 1_000_000
            begun.release()
            await go_on.wait()
            yield b"\r\n--x--\r\n"

        kind = {"Content-Type": "multipart/form-data; boundary=x"}

        async def upload() -> int:
            async with api.http.post("/api/chat", data=slow(), headers=kind) as response:
                return response.status

        first = [asyncio.create_task(upload()) for _ in range(held)]
        for _ in range(held):
            await begun.acquire()

        async def are_received() -> bool:  # until then, they are in the sockets' buffers
            return budget._left <= most - held * (size - BODY_BYTES)

        await until(are_received)
        assert await upload() == 503
        go_on.set()
        assert set(await asyncio.gather(*first)) == {200}
        assert await upload() == 200


# ── reading files ─────────────────────────────────────────────────────────────────────────────
async def upload_files(api: Person, *files: tuple[str, str, bytes]) -> list[str]:
    conversation = await begin(api)
    status, answer = await send(
        api, f"/conversation/completion/{conversation}", form(*files, message="see")
    )
    assert status == 200, answer
    return [each["id"] for each in await attachments(api, conversation)]


async def test_a_picture_is_shown_in_place_and_everything_else_downloaded(api: Person) -> None:
    """Its bytes decide; the name and the declared type do not matter."""
    page = b"<script>alert(1)</script>"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    identities = await upload_files(
        api,
        ("Bild ä.png", "image/png", PICTURE),
        ("page.png", "image/png", page),
        ("x.svg", "image/svg+xml", svg),
    )
    shown, data = await content(api, identities[0])
    assert (shown.status, data, shown.content_type) == (200, PICTURE, "image/png")
    assert shown.headers["Content-Disposition"] == "inline; filename*=UTF-8''Bild%20%C3%A4.png"
    for identity, expected in zip(identities[1:], (page, svg), strict=True):
        response, data = await content(api, identity)
        assert (data, response.content_type) == (expected, "application/octet-stream")
        assert response.headers["Content-Disposition"].startswith("attachment;")
    for identity in identities:
        headers = (await content(api, identity))[0].headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in headers["Content-Security-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"].startswith("private")
        assert headers["Vary"] == "Authorization, Cookie"


async def test_a_preview_exists_only_of_pictures(api: Person) -> None:
    picture, log = await upload_files(
        api, ("a.png", "image/png", PICTURE), ("a.log", "text/plain", TEXT)
    )
    response, data = await content(api, picture, "?preview=true")
    assert (response.status, response.content_type) == (200, "image/png")
    assert data
    assert (await content(api, log, "?preview=true"))[0].status == 404


async def test_only_the_owner_gets_the_bytes_and_no_one_after_a_deletion(
    api: Person, site: Site
) -> None:
    conversation = await begin(api)
    body = form(("a.txt", "text/plain", b"secret"), message="see")
    await send(api, f"/conversation/completion/{conversation}", body)
    identity = (await attachments(api, conversation))[0]["id"]
    async with site.person(TOKENS["bob"]) as other:
        assert (await content(other, identity))[0].status == 404
    async with site.person() as stranger:
        assert (await content(stranger, identity))[0].status == 401
    assert (await content(api, identity))[1] == b"secret"
    await api.ask("DELETE", f"/conversation/{conversation}")
    assert (await content(api, identity))[0].status == 404


# ── the page ──────────────────────────────────────────────────────────────────────────────────
async def test_the_pages_message_takes_files_and_pasted_texts(api: Person) -> None:
    """The channel's line and the thread show the question's files."""
    body = form(("a.png", "image/png", PICTURE), text="@threadline", client_id=str(uuid.uuid4()))
    body.add_field("pasted", TEXT * 300, filename="Pasted text.txt", content_type="text/plain")
    status, sent = await send(api, "/app/messages", body)
    assert (status, sent["receipt"]) == (200, "question")
    assert [(each["name"], each["preview"]) for each in sent["message"]["attachments"]] == [
        ("a.png", True),
        ("Pasted text.txt", False),
    ]

    async def is_listed() -> bool:
        threads = (await api.get("/app/threads"))["threads"]
        mine = next(each for each in threads if each["id"] == sent["thread"])
        return mine["name"] == "a.png" and len(mine["root"]["attachments"]) == 2

    await until(is_listed)


async def test_a_command_on_the_page_takes_no_files(api: Person) -> None:
    body = form(("a.png", "image/png", PICTURE), text="/reset", client_id=str(uuid.uuid4()))
    status, answer = await send(api, "/app/messages", body)
    assert status == 422
    assert "A command takes no files" in answer["error"]


async def test_states_of_files_change_in_every_tab_when_the_answer_ends(tmp_path: Path) -> None:
    """A file turns out to be damaged: the question's event and the channel say so."""
    async with (
        ModelSim() as model,
        serving(tmp_path, model) as site,
        site.person() as api,
        api.stream("GET", "/app/events") as events,
    ):
        await model.say("Here it is, word by word. " * 12, match="read it")
        body = form(("a.pdf", "application/pdf", b"%PDF-1.7\nnothing"), text="@threadline read it")
        body.add_field("client_id", str(uuid.uuid4()))
        _, sent = await send(api, "/app/messages", body)
        identity = sent["message"]["attachments"][0]["id"]
        assert sent["message"]["attachments"][0]["state"] == "pending"
        async with asyncio.timeout(30):
            async for event in events:
                files = event.data.get("attachments") or [{}]
                if event.name == "message" and files[0].get("state") == "unreadable":
                    break
        assert (files[0]["id"], files[0]["problem"]) == (identity, "it is damaged")
        root = (await api.get("/app/threads"))["threads"][0]["root"]
        assert root["attachments"] == files
