"""The files that the browser loads; all of them ship with Threadline."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from adapters.web.auth import SECURITY_HEADERS
from adapters.web.diagrams import send_document
from adapters.web.page_files import PageFile, PageFiles

PAGE = Path(__file__).parent / "page"
DOCS = Path(__file__).parent / "docs"
VENDOR = Path(__file__).parent / "vendor"
# Browsers revalidate each file, so that an update takes effect immediately.
REVALIDATE = {"Cache-Control": "no-cache"}
# The address has the version of all files, so this one never changes.
FOR_GOOD = {"Cache-Control": "public, max-age=31536000, immutable"}
# In the page, only the one Trusted Types policy that builds inert documents turns text into markup.
PAGE_POLICY = (
    SECURITY_HEADERS["Content-Security-Policy"]
    + "; manifest-src 'self'; frame-src 'self'"
    + "; require-trusted-types-for 'script'; trusted-types threadline-inert"
)


class _Files(StaticFiles):
    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(REVALIDATE)
        return response


def page_routes() -> list[BaseRoute]:
    """`/` and `/static/…`."""
    routes = PageRoutes(PageFiles(PAGE))
    return [
        Route("/", routes.index, methods=["GET"], include_in_schema=False),
        Route("/static/diagram", send_document, methods=["GET"], include_in_schema=False),
        Mount("/static/vendor/katex", _Files(directory=VENDOR / "katex")),
        Route("/static/{name:path}", routes.file, methods=["GET"], include_in_schema=False),
    ]


class PageRoutes:
    """The page and its files."""

    def __init__(self, files: PageFiles) -> None:
        self._files = files

    async def index(self, request: Request) -> Response:
        """The page. Browsers check each time whether it has changed, in one short round trip."""
        policy = {"Content-Security-Policy": PAGE_POLICY}
        return _respond(request, self._files.index, REVALIDATE | policy)

    async def file(self, request: Request) -> Response:
        """A file, with or without the version in its address.

        After an update, an old page may ask this process for a file under the old version. It gets
        the current file, which the browser must not cache under that address.
        """
        name = request.path_params["name"]
        version, _, rest = name.partition("/")
        if version == self._files.version and (found := self._files.find(rest)) is not None:
            return _respond(request, found, FOR_GOOD)
        found = self._files.find(name) or self._files.find(rest)
        if found is None:
            raise HTTPException(404)
        return _respond(request, found, REVALIDATE)


def _respond(request: Request, file: PageFile, headers: dict[str, str]) -> Response:
    headers = {**headers, "ETag": file.etag, "Vary": "Accept-Encoding"}
    known = request.headers.get("if-none-match", "")
    if file.etag in known.replace("W/", "").replace(" ", "").split(","):
        return Response(status_code=304, headers=headers)
    data = file.data
    if "gzip" in request.headers.get("accept-encoding", "") and file.compressed is not None:
        data = file.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(data, media_type=file.media_type, headers=headers)


def docs_routes() -> list[BaseRoute]:
    """`/docs`: our own page for the API description."""
    return [
        Route("/docs", _docs, methods=["GET"], include_in_schema=False),
        Mount("/docs", _Files(directory=DOCS)),
    ]


async def _docs(_request: Request) -> Response:
    return FileResponse(DOCS / "index.html", headers=REVALIDATE)
