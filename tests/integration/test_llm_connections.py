"""Connections that break early, lead elsewhere or are not trusted, with all three clients."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.domain import texts
from bot.domain.errors import CutOff, Unreachable, WrongAddress
from bot.domain.health import Verdict
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import StreamingModel
from tests.support.anthropic_kit import anthropic_model, anthropic_provider
from tests.support.deltas import HELLO, fail, text
from tests.support.model_kit import huggingface_model, openai_model
from tests.support.provider_corpus import ANSWERS

WIDE = StreamTimeouts(first_token=20.0, between_tokens=20.0)
MODELS: dict[str, Callable[[str], StreamingModel]] = {
    "openai": lambda url: openai_model("m", url, timeouts=WIDE),
    "huggingface": lambda url: huggingface_model("m", url, timeouts=WIDE),
    "anthropic": lambda url: anthropic_model("m", anthropic_provider(url), timeouts=WIDE),
}
each_client = pytest.mark.parametrize("client", MODELS)

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
METHOD = b"HTTP/1.1 405 Method Not Allowed\r\nconnection: close\r\n\r\n"


def answer_of(client: str) -> bytes:
    """A whole answer in the words of the client's API."""
    return ANSWERS["messages" if client == "anthropic" else "chat"]


@asynccontextmanager
async def serving(
    respond: Callable[[str], bytes], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server that writes one response to each connection in one piece, and closes it.

    `respond` gets the request line. Yields the address.
    """
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            _, _, length = head.lower().partition("content-length: ")
            await reader.readexactly(int(length.partition("\r\n")[0] or 0))
            writer.write(respond(head.partition("\r\n")[0]))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/v1"
    finally:
        server.close()
        await asyncio.gather(*connections, return_exceptions=True)


# ── a body that ends early ────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("framing", ["content-length: 99999", "transfer-encoding: chunked"])
@each_client
async def test_a_broken_connection_after_the_whole_answer_costs_nothing(
    client: str, framing: str
) -> None:
    """The break arrives together with the answer; aiohttp would report only the break."""
    body = answer_of(client)
    if "chunked" in framing:
        body = b"%x\r\n%b\r\n" % (len(body), body)
    async with serving(lambda _: STREAM + framing.encode() + b"\r\n\r\n" + body) as url:
        model = MODELS[client](url)
        assert text([delta async for delta in model.stream(HELLO)]) == "Hello there."
        await model.aclose()


@each_client
async def test_a_broken_connection_in_mid_answer_keeps_the_text_that_arrived(client: str) -> None:
    body = answer_of(client).partition(b'"stop')[0].rpartition(b"data: ")[0]
    async with serving(lambda _: STREAM + b"content-length: 99999\r\n\r\n" + body) as url:
        model = MODELS[client](url)
        deltas, error = await fail(model)
        assert (text(deltas), type(error)) == ("Hello there.", CutOff)
        await model.aclose()


# ── redirects ─────────────────────────────────────────────────────────────────────────────────
def redirect(status: str, to: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nlocation: {to}\r\nconnection: close\r\n\r\n".encode()


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other"])
@each_client
async def test_a_redirect_to_a_get_names_where_it_led(client: str, status: str) -> None:
    """Servers redirect http:// to https:// like this; what answers the GET says nothing."""

    def respond(line: str) -> bytes:
        path = line.split()[1]
        return METHOD if line.startswith("GET") else redirect(status, f"/moved{path}?secret=1")

    async with serving(respond) as url:
        model = MODELS[client](url)
        _, error = await fail(model)
        finding = await model.check()
        await model.aclose()
    host = url.removesuffix("/v1")
    assert isinstance(error, WrongAddress)
    assert str(error).startswith(f"redirected to {host}/moved/v1/") and "secret" not in str(error)
    assert finding.verdict is Verdict.FAILED and f"{host}/moved" in finding.detail


@each_client
async def test_a_redirect_that_keeps_the_method_is_followed(client: str) -> None:
    def respond(line: str) -> bytes:
        path = line.split()[1]
        if not path.startswith("/moved"):
            return redirect("308 Permanent Redirect", f"/moved{path}")
        return STREAM + b"connection: close\r\n\r\n" + answer_of(client)

    async with serving(respond) as url:
        model = MODELS[client](url)
        assert text([delta async for delta in model.stream(HELLO)]) == "Hello there."
        await model.aclose()


# ── certificates ──────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context with a self-signed certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    folder: Path = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=model.test"
    subprocess.run(
        [*command.split(), "-out", cert, "-keyout", key], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


@each_client
async def test_an_untrusted_certificate_is_named(client: str, untrusted: ssl.SSLContext) -> None:
    """The libraries call it a timeout or a failed connection."""
    async with serving(lambda _: METHOD, tls=untrusted) as url:
        model = MODELS[client](url)
        _, error = await fail(model)
        finding = await model.check()
        await model.aclose()
    assert isinstance(error, Unreachable) and "self-signed certificate" in str(error)
    host = url.removeprefix("https://").removesuffix("/v1")
    assert f"`{host}` is not trusted" in texts.model_failure(error)
    assert "SSL_CERT_FILE" in finding.advice and "self-signed" in finding.detail
