"""The files that the browser loads; all of them ship with Threadline."""

from __future__ import annotations

from pathlib import Path

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
    + "; require-trusted-types-for 'script'; trusted-types threadline-inert"
)


class _Files(StaticFiles):
    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(REVALIDATE)
        return response


def page_routes() -> list[BaseRoute]:
    """`/` and `/static/…`."""
    return [
        Route("/", _index, methods=["GET"], include_in_schema=False),
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
