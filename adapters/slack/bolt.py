"""Creates Bolt's app for all workspaces, without the default middleware that can lose events."""

from __future__ import annotations

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack.api import quiet_logger


def create_app(*, signing_secret: str | None, client: AsyncWebClient) -> AsyncApp:
    """Bolt's app, without listeners; `client` needs no token.

    By default Bolt reads the installation and calls auth.test for an event, which loses the event
    when one of them fails, and drops events that the bot caused, which include a person's deletion
    of the bot's message. `router` finds the installation instead.
    """
    result = AuthorizeResult(enterprise_id=None, team_id=None)

    async def authorize() -> AuthorizeResult:
        return result

    return AsyncApp(
        name="threadline",
        client=client,
        authorize=authorize,
        signing_secret=signing_secret or "",
        process_before_response=True,
        ignoring_self_events_enabled=False,
        attaching_function_token_enabled=False,
        attaching_conversation_kwargs_enabled=False,
        logger=quiet_logger(),
    )
