"""The files that the browser loads; all of them ship with Threadline."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from adapters.web.auth import SECURITY_HEADERS

PAGE = Path(__file__).parent / "page"
DOCS = Path(__file__).parent / "docs"
VENDOR = Path(__file__).parent / "vendor"
# Browsers revalidate each file, so that an update takes effect immediately.
REVALIDATE = {"Cache-Control": "no-cache"}
# In the page, only the one Trusted Types policy that builds inert documents turns text into markup.
PAGE_POLICY = (
    SECURITY_HEADERS["Content-Security-Policy"]
    + "; frame-src 'self'; require-trusted-types-for 'script'; trusted-types threadline-inert"
)
# Diagrams are drawn in a document without an origin, which can load nothing and send nothing but
# messages to the page. Mermaid writes style elements.
DIAGRAM_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
DIAGRAM_SCRIPTS = (VENDOR / "mermaid" / "mermaid.tiny.js", PAGE / "diagram-frame.js")


class _Files(StaticFiles):
    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(REVALIDATE)
        return response


def page_routes() -> list[BaseRoute]:
    """`/` and `/static/…`."""
    return [
        Route("/", _index, methods=["GET"], include_in_schema=False),
        Route("/static/diagram", _diagram, methods=["GET"], include_in_schema=False),
        Mount("/static/vendor/katex", _Files(directory=VENDOR / "katex")),
        Mount("/static", _Files(directory=PAGE, check_dir=False)),
    ]


def docs_routes() -> list[BaseRoute]:
    """`/docs`: our own page for the API description."""
    return [
        Route("/docs", _docs, methods=["GET"], include_in_schema=False),
        Mount("/docs", _Files(directory=DOCS)),
    ]


async def _docs(_request: Request) -> Response:
    return FileResponse(DOCS / "index.html", headers=REVALIDATE)


async def _index(_request: Request) -> Response:
    return FileResponse(
        PAGE / "index.html", headers=REVALIDATE | {"Content-Security-Policy": PAGE_POLICY}
    )


# ── diagrams ──────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Document:
    """The document that draws diagrams, as it is sent."""

    packed: bytes
    plain: bytes
    policy: str
    etag: str


@cache
def _diagram_document() -> _Document:
    """The document with its scripts inside: without an origin it could not load them from here.

    Compressed once, because it has 2.5 MB.
    """
    scripts = [path.read_text("utf-8") for path in DIAGRAM_SCRIPTS]
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts]
    body = "".join(f"<script>{each}</script>" for each in scripts)
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Diagrams</title><body>'
    plain = f"{head}{body}</body></html>".encode()
    return _Document(
        packed=gzip.compress(plain, mtime=0),
        plain=plain,
        policy=DIAGRAM_POLICY.format(scripts=" ".join(f"'sha256-{each}'" for each in hashes)),
        etag=f'"{hashlib.sha256(plain).hexdigest()[:32]}"',
    )


async def _diagram(request: Request) -> Response:
    document = await run_in_threadpool(_diagram_document)
    headers = REVALIDATE | {
        "Content-Security-Policy": document.policy,
        "ETag": document.etag,
        "Vary": "Accept-Encoding",
    }
    if document.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(document.packed, headers=headers, media_type="text/html")
    return Response(document.plain, headers=headers, media_type="text/html")
