"""The sandboxed document that draws Mermaid diagrams."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

# Browsers revalidate it, so that an update takes effect immediately.
REVALIDATE = {"Cache-Control": "no-cache"}
# Diagrams are drawn in a document without an origin, which can load nothing and send nothing but
# messages to the page. Mermaid writes style elements.
DIAGRAM_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HERE = Path(__file__).parent
DIAGRAM_SCRIPTS = (
    _HERE / "vendor" / "mermaid" / "mermaid.tiny.js",
    _HERE / "page" / "diagram-frame.js",
)


@dataclass(frozen=True, slots=True)
class _Document:
    """The diagram document as it is sent."""

    packed: bytes
    plain: bytes
    policy: str
    etag: str


@cache
def _diagram_document() -> _Document:
    """The document with its scripts inlined: without an origin it could not load them from here.

    Compressed only once, because it is 2.5 MB.
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


async def send_document(request: Request) -> Response:
    """Send the document, with a Content-Security-Policy for it alone."""
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
