"""The simulated Slack's server: its routes and controls.

An ApiError becomes `ok: false` in the Web API, and HTTP 409 with its code in a control.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from tests.sims.kit import ENTRY, Entry, Fault, Sim
from tests.sims.slack import ids
from tests.sims.slack.controls import Controls
from tests.sims.slack.downloads import Downloads
from tests.sims.slack.grants import Consent, Grants
from tests.sims.slack.home import Home
from tests.sims.slack.interact import Interactions
from tests.sims.slack.people import People
from tests.sims.slack.platform import Platform
from tests.sims.slack.values import ApiError, Args, Json
from tests.sims.slack.web import FORMS_ONLY, accepted_scopes, call

_PEOPLE = (
    "say edit delete delete_file transcribe unfurl react add_channel join remove_from_channel "
    "add_person describe_person group rename make_private archive open_direct open_home "
    "open_agent_pane move_agent_pane stop_agent revoke"
)
_INTERACTIONS = "slash shortcut click view_submit responses"
_CONTROLS = (
    "subscribe scopes manifest commands set_http set_socket delivery limits randomize throttle "
    "forget_refusals status_seconds streams uploads workspace mentions agent blocks disconnect "
    "drop offline online frame links deliver_again inject inject_frames channel thread ephemeral "
    "deliveries state"
)


class SlackServer(Sim):
    """Simulates Slack: Web API, Socket Mode, HTTP events, interactions and native streams."""

    name = "slack"

    def setup(self) -> None:
        """Add the routes and controls."""
        self.slack = Platform()
        self.slack.sockets.rtt = self.slack.delivery.rtt = self.rtt
        self.platforms = {1: self.slack}
        self.grants = Grants(self.platforms)
        self.controls: dict[int, dict[str, Callable[..., Any]]] = {}
        self.interactions: dict[int, Interactions] = {}
        self.served: dict[int, Downloads] = {}
        self._connect(self.slack)
        for name in self.controls[1]:
            self.control(name, self._control_in(name))
        for control in (self.add_workspace, self.consent, self.oauth, self.expire_tokens):
            self.control(control.__name__, control)
        router = self.app.router
        router.add_post("/api/oauth.v2.access", self._oauth_access)
        router.add_post("/api/apps.uninstall", self._uninstall)
        router.add_post("/api/auth.revoke", self._uninstall)
        router.add_get("/oauth/v2/authorize", self._authorize)
        router.add_route("*", "/api/{method}", self._api)
        router.add_get("/link/", self.slack.sockets.serve)
        router.add_post("/respond/{hook}", self._response_url)
        router.add_post("/upload/v1/{file}", self._upload)
        for path in ("/files-pri/{file}/{name}", "/files-pri/{file}/download/{name}"):
            router.add_get(path, self._download)

    def _connect(self, slack: Platform) -> None:
        """Add the controls of a workspace."""
        slack.revoke = partial(self.grants.revoke, slack)
        slack.accepts = partial(self._accepts, slack)
        interactions, downloads = Interactions(slack), Downloads(slack)
        self.interactions[slack.home.number] = interactions
        self.served[slack.home.number] = downloads
        self.controls[slack.home.number] = {
            name: getattr(owner, name)
            for names, owner in (
                (_PEOPLE, People(slack)),
                (_INTERACTIONS, interactions),
                (_CONTROLS, Controls(slack)),
                ("downloads", downloads),
            )
            for name in names.split()
        }

    def _control_in(self, name: str) -> Callable[..., Any]:
        async def control(in_workspace: int = 1, **body: Any) -> Any:
            return await _with_http_errors(self.controls[in_workspace][name])(**body)

        return control

    def _accepts(self, slack: Platform, token: str) -> bool:
        grant = self.grants.tokens.get(token)
        if grant is None or slack not in grant.places or grant.refused:
            return False
        return grant.expires > time.monotonic()

    # ── controls of OAuth ─────────────────────────────────────────────────────────────────────
    def add_workspace(self, number: int, enterprise: str = "") -> None:
        """Add a workspace, which has not installed the app yet; see `home.Home` for its ids."""
        first = self.slack
        made = Platform(Home(number, enterprise), beside=first)
        made.events.installed, made.events.subscribed = False, first.events.subscribed
        made.commands, made.shortcuts = first.commands, first.shortcuts
        made.agent, made.messages_tab = first.agent, first.messages_tab
        self.platforms[number] = made
        self._connect(made)

    def consent(self, number: int = 1, org_wide: bool = False, denies: bool = False) -> None:
        """Decide what the next person does on Slack's page.

        They install the app in a workspace, or in all of its organization, or decline.
        """
        self.grants.consent = Consent(number, org_wide, denies)

    def oauth(
        self,
        redirect_urls: list[str] | None = None,
        rotates: bool | None = None,
        token_seconds: float | None = None,
        installed: bool | None = None,
    ) -> None:
        """Configure the app for OAuth; `installed`: whether the default workspace has it."""
        grants = self.grants
        grants.redirect_urls = grants.redirect_urls if redirect_urls is None else redirect_urls
        grants.rotates = grants.rotates if rotates is None else rotates
        grants.token_seconds = grants.token_seconds if token_seconds is None else token_seconds
        if installed is not None:
            self.slack.uses_oauth = not installed
            self.slack.events.installed = installed
            if not installed:
                self.grants.tokens.pop(ids.BOT_TOKEN, None)

    def expire_tokens(self, number: int = 1) -> None:
        """Make a workspace's tokens expire now."""
        self.grants.expire(self.platforms[number])

    async def start(self, port: int = 0) -> web.AppRunner:
        """Listen, and make Slack's URLs point to this server."""
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
        grant = self.grants.tokens.get(token)
        entry.note["token"] = token
        try:
            answer: Json = {"ok": True} | call(self.grants, method, token, values)
        except ApiError as error:
            answer = {"ok": False, "error": error.code} | error.more
            entry.note["error"] = error.code
            if error.retry_after != 0:
                status = 429
                headers |= {"Retry-After": str(error.retry_after)} if error.retry_after else {}
        else:
            answer = add_noise(answer) if self.slack.limits.profile.noisy else answer
        if grant is not None:
            headers["X-OAuth-Scopes"] = ",".join(sorted(grant.places[0].events.scopes))
        text = json.dumps(answer)
        return web.json_response(text=text, status=status, headers=headers)

    async def _oauth_access(self, request: web.Request) -> web.Response:
        entry: Entry = request[ENTRY]
        body = entry.body if isinstance(entry.body, dict) else {}
        client = _basic(request) or (body.get("client_id", ""), body.get("client_secret", ""))
        return self._respond(entry, lambda: self.grants.access(Args(body), client))

    async def _uninstall(self, request: web.Request) -> web.Response:
        """Handle an uninstall: apps.uninstall removes the whole installation, auth.revoke only a
        token."""
        entry: Entry = request[ENTRY]
        body = entry.body if isinstance(entry.body, dict) else {}
        token = body.get("token") or _bearer(request)
        whole = request.path.endswith("apps.uninstall")

        def end() -> Json:
            grant = self.grants.tokens.get(token)
            if grant is None:
                raise ApiError("invalid_auth")
            grant.check()
            if whole and (body.get("client_id"), body.get("client_secret")) != (
                ids.CLIENT_ID,
                ids.CLIENT_SECRET,
            ):
                raise ApiError("bad_client_secret")
            People(grant.places[0]).revoke(uninstall=whole)
            return {} if whole else {"revoked": True}

        return self._respond(entry, end)

    def _respond(self, entry: Entry, does: Callable[[], Json]) -> web.Response:
        try:
            return web.json_response({"ok": True} | does())
        except ApiError as error:
            entry.note["error"] = error.code
            return web.json_response({"ok": False, "error": error.code})

    async def _authorize(self, request: web.Request) -> web.Response:
        try:
            target = self.grants.authorize(dict(request.query))
        except ApiError as error:
            return web.Response(status=400, text=error.code)
        return web.Response(status=302, headers={"Location": target})

    async def _response_url(self, request: web.Request) -> web.StreamResponse:
        hook = request.match_info["hook"]
        places = (each for each in self.interactions.values() if hook in each.slack.hooks)
        return await next(places, self.interactions[1]).respond(request)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        file = request.match_info["file"].rpartition("-")[2]
        places = (each for each in self.served.values() if file in each.slack.files)
        return await next(places, self.served[1]).serve(request)

    async def _upload(self, request: web.Request) -> web.Response:
        name = request.match_info["file"]
        slack = next((one for one in self.platforms.values() if name in one.files), self.slack)
        file = slack.files.get(name)
        if file is None:
            return web.Response(status=404, text="no such upload")
        data = await _read_upload(request)
        if len(data) != file["size"]:
            return web.Response(status=400, text="length does not match")
        slack.contents[file["id"]] = data
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


def _basic(request: web.Request) -> tuple[str, str] | None:
    """The app's id and secret in HTTP Basic authentication."""
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if kind != "Basic":
        return None
    client, _, secret = base64.b64decode(encoded).decode().partition(":")
    return client, secret


async def _read_upload(request: web.Request) -> bytes:
    """The bytes of an upload, raw or as the only part of a multipart form."""
    if not request.content_type.startswith("multipart/"):
        return await request.read()
    for value in (await request.post()).values():
        if isinstance(value, web.FileField):
            with value.file:
                return value.file.read()
        return value.encode() if isinstance(value, str) else bytes(value)
    return b""
