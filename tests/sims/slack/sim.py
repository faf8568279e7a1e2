"""The simulated Slack's server: its routes and controls.

An ApiError becomes `ok: false` in the Web API, and HTTP 409 with its code in a control.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.sims.kit import ENTRY, Entry, Fault, Sim
from tests.sims.slack import ids
from tests.sims.slack.controls import Controls
from tests.sims.slack.downloads import Downloads
from tests.sims.slack.interact import Interactions
from tests.sims.slack.people import People
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Json
from tests.sims.slack.web import FORMS_ONLY, accepted_scopes, call

_PEOPLE = (
    "say edit delete delete_file transcribe unfurl react add_channel join remove_from_channel "
    "add_person describe_person group rename archive open_direct open_home open_agent_pane "
    "move_agent_pane stop_agent revoke"
)
_INTERACTIONS = "slash shortcut click view_submit responses"
_CONTROLS = (
    "subscribe scopes manifest commands set_http set_socket delivery limits randomize throttle "
    "forget_refusals streams uploads workspace mentions agent blocks disconnect drop offline "
    "online frame links deliver_again inject inject_frames channel thread ephemeral deliveries "
    "state"
)


class SlackServer(Sim):
    """Simulates Slack: Web API, Socket Mode, HTTP events, interactions and native streams."""

    name = "slack"

    def setup(self) -> None:
        """Add the routes and controls."""
        self.slack = Platform()
        self.slack.sockets.rtt = self.slack.delivery.rtt = self.rtt
        interactions, downloads = Interactions(self.slack), Downloads(self.slack)
        for names, owner in (
            (_PEOPLE, People(self.slack)),
            (_INTERACTIONS, interactions),
            (_CONTROLS, Controls(self.slack)),
            ("downloads", downloads),
        ):
            for name in names.split():
                self.control(name, _with_http_errors(getattr(owner, name)))
        router = self.app.router
        router.add_route("*", "/api/{method}", self._api)
        router.add_get("/link/", self.slack.sockets.serve)
        router.add_post("/respond/{hook}", interactions.respond)
        router.add_post("/upload/v1/{file}", self._upload)
        for path in ("/files-pri/{file}/{name}", "/files-pri/{file}/download/{name}"):
            router.add_get(path, downloads.serve)

    async def start(self, port: int = 0) -> web.AppRunner:
        """Listen, and let Slack's URLs point to this server."""
        runner = await super().start(port)
        self.slack.url = self.url
        return runner

    def _set_rtt(self, seconds: float) -> None:
        super()._set_rtt(seconds)
        self.slack.sockets.rtt = self.slack.delivery.rtt = seconds

    def fault_response(self, fault: Fault) -> web.Response:
        """A fault's response; a text body with a content type is sent unchanged."""
        kind = fault.headers.get("Content-Type", "")
        if not kind or not isinstance(fault.body, str):
            return super().fault_response(fault)
        return web.Response(status=fault.status or 500, text=fault.body, headers=fault.headers)

    # ── routes ────────────────────────────────────────────────────────────────────────────────
    async def _api(self, request: web.Request) -> web.Response:
        entry: Entry = request[ENTRY]
        body = entry.body if isinstance(entry.body, dict) else {}
        method = request.match_info["method"]
        if method in FORMS_ONLY and request.content_type == "application/json":
            body = {}
        values = {**request.query, **body}
        token = str(values.pop("token", "")) or _bearer(request)
        status, headers = 200, {"X-Accepted-OAuth-Scopes": accepted_scopes(method)}
        try:
            answer: Json = {"ok": True} | call(
                self.slack, method, token, values, (ids.BOT_TOKEN, ids.APP_TOKEN)
            )
        except ApiError as error:
            answer = {"ok": False, "error": error.code} | error.more
            entry.note["error"] = error.code
            if error.retry_after != 0:
                status = 429
                headers |= {"Retry-After": str(error.retry_after)} if error.retry_after else {}
        else:
            answer = add_noise(answer) if self.slack.limits.profile.noisy else answer
        if token == ids.BOT_TOKEN:
            headers["X-OAuth-Scopes"] = ",".join(sorted(self.slack.events.scopes))
        text = json.dumps(answer)
        return web.json_response(text=text, status=status, headers=headers)

    async def _upload(self, request: web.Request) -> web.Response:
        file = self.slack.files.get(request.match_info["file"])
        if file is None:
            return web.Response(status=404, text="no such upload")
        data = await _read_upload(request)
        if len(data) != file["size"]:
            return web.Response(status=400, text="length does not match")
        self.slack.contents[file["id"]] = data
        return web.Response(text=f"OK - {len(data)}")


def add_noise(response: Json) -> Json:
    """A response with the warnings and unknown fields that Slack adds to some.

    A Content-Type causes `superfluous_charset` or `missing_charset`
    (docs.slack.dev/apis/web-api/#warnings); the other fields represent future additions.
    """
    extra: Json = {"warning": "superfluous_charset", "deprecated_argument": None, "new_field": [{}]}
    notes = {"warnings": ["superfluous_charset"], "messages": ["[WARN] something is deprecated"]}
    return extra | response | {"response_metadata": notes | response.get("response_metadata", {})}


def _with_http_errors(does: Callable[..., Any]) -> Callable[..., Any]:
    """A control that turns an ApiError into HTTP 409."""

    async def call_control(**body: Any) -> Any:
        try:
            result = does(**body)
            return await result if hasattr(result, "__await__") else result
        except ApiError as error:
            raise web.HTTPConflict(text=error.code) from error

    return call_control


def _bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ").strip()


async def _read_upload(request: web.Request) -> bytes:
    """The bytes of an upload, raw or as the only part of a multipart form."""
    if not request.content_type.startswith("multipart/"):
        return await request.read()
    for value in (await request.post()).values():
        if isinstance(value, web.FileField):
            return value.file.read()
        return value.encode() if isinstance(value, str) else bytes(value)
    return b""
