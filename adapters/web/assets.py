"""The files that the browser loads: all of them ship with Threadline."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from adapters.web.render import highlight_css

PAGE = Path(__file__).parent / "page"
# A browser asks each time whether a file has changed: after an update the page is the new one.
REVALIDATE = {"Cache-Control": "no-cache"}


class _Files(StaticFiles):
    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(REVALIDATE)
        return response


def page_routes() -> list[BaseRoute]:
    """`/`, `/static/…`, and the colours of code."""
    return [
        Route("/", _index, methods=["GET"], include_in_schema=False),
        Route("/static/highlight.css", _highlight, methods=["GET"], include_in_schema=False),
        Mount("/static", _Files(directory=PAGE, check_dir=False)),
    ]


async def _index(_request: Request) -> Response:
    return FileResponse(PAGE / "index.html", headers=REVALIDATE)


async def _highlight(_request: Request) -> Response:
    return PlainTextResponse(highlight_css(), headers=REVALIDATE, media_type="text/css")
