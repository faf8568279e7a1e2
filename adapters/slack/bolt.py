"""Creates Bolt's app for one workspace, without the default middleware that can lose events."""

from __future__ import annotations

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack.api import quiet_logger
from adapters.slack.events import Identity


def create_app(
    *, me: Identity, bot_token: str, signing_secret: str | None, client: AsyncWebClient
) -> AsyncApp:
    """Bolt's app, without listeners; `client` needs no token.

    By default Bolt calls auth.test for an event, which loses the event when Slack fails, and drops
    events that the bot caused, which include a person's deletion of the bot's message.
    """
    result = AuthorizeResult(
        enterprise_id=None,
        team_id=me.team,
        bot_id=me.bot,
        bot_user_id=me.user,
        bot_token=bot_token,
    )

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
