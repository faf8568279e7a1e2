"""The files that the browser loads: all of them ship with Threadline."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from adapters.web.auth import SECURITY_HEADERS

PAGE = Path(__file__).parent / "page"
DOCS = Path(__file__).parent / "docs"
# A browser asks each time whether a file has changed: after an update the page is the new one.
REVALIDATE = {"Cache-Control": "no-cache"}
# In the page no text becomes markup but through the one policy that makes inert documents of it.
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
        Mount("/static", _Files(directory=PAGE, check_dir=False)),
    ]


def docs_routes() -> list[BaseRoute]:
    """`/docs`: the API's description as a page of our own."""
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
