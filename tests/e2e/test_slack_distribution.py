"""One Slack app in several workspaces: the bot as a process, slack-bolt's flow, real sockets."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.sims.model import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess, command
from tests.support.oauth_kit import OTHER_KEY, Installer, settings
from tests.support.store_kit import look


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as slack:
        yield slack


def bot_for(sim: SlackSim, model: ModelSim, folder: Path, **more: str) -> BotProcess:
    return BotProcess(
        folder,
        {
            **settings(sim, **more),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-simulated",
        },
    )


async def shows_answer(sim: SlackSim, channel: str, root: str, words: str) -> None:
    """Wait until the thread shows an answer that contains these words."""

    async def shows() -> bool:
        thread = await sim.thread(channel, root)
        return any(words in one["shown"] for one in thread if one.get("bot_id"))

    await sim.until(shows)


async def ask(sim: SlackSim, text: str) -> str:
    """Mention the bot in this workspace's #general."""
    alice, general = ids.of(ids.ALICE, sim.number), ids.of(ids.GENERAL, sim.number)
    return await sim.say(alice, general, text, mention=True)


async def tokens_sent(sim: SlackSim, since: int = 0) -> list[tuple[str, str]]:
    """The path and the token of each request so far."""
    made = await sim.requests("/api/", since)
    return [(one["path"], one["note"].get("token", "")) for one in made]


async def test_two_workspaces_install_one_app_and_one_leaves_in_the_middle_of_an_answer(
    sim: SlackSim, model: ModelSim, tmp_path: Path
) -> None:
    second = await sim.add_workspace(2)
    bot = bot_for(sim, model, tmp_path)
    origin = f"http://127.0.0.1:{bot.http_port}"
    await sim.oauth(installed=False, redirect_urls=[f"{origin}/slack/oauth_redirect"], rotates=True)
    await model.script(
        Answer(match="slow", chunks=["It begins ", "and ", "ends."], wait_at=2),
        Answer(text="Forty-two."),
    )
    async with bot:
        person = Installer(origin)
        for number in (1, 2):
            await sim.consent(number)
            assert "can use it now" in (await person.install()).text
        general = {number: ids.of(ids.GENERAL, number) for number in (1, 2)}
        # Both ask at the same time, and each is answered with its workspace's token.
        roots = {1: await ask(sim, "why?"), 2: await ask(second, "why?")}
        await shows_answer(sim, general[1], roots[1], "Forty-two.")
        await shows_answer(second, general[2], roots[2], "Forty-two.")

        # The first workspace removes the app while an answer is being written.
        slow = await ask(sim, "slow please")
        await shows_answer(sim, general[1], slow, "It begins")
        await sim.revoke(uninstall=True)
        database = bot.folder / "threadline.db"

        async def is_gone() -> bool:
            sql = "SELECT outcome FROM turns WHERE outcome = 'gone' AND state = 'done'"
            return bool(look(database, sql)) and not installed_in(database, ids.TEAM)

        await sim.until(is_gone)
        before = len(await sim.requests())
        await shows_answer(second, general[2], await ask(second, "again?"), "Forty-two.")
        used = {token for _, token in await tokens_sent(sim, before)}
        assert all(token.startswith("xoxe.xoxb-1-2-") or not token for token in used), used

        # An expired token is renewed once, by the first request that needs it.
        await sim.expire_tokens(2)
        expire_stored(database, ids.of(ids.TEAM, 2))
        before = len(await sim.requests())
        await bot.terminate()
        await bot.start()
        await bot.ready()
        await shows_answer(second, general[2], await ask(second, "and now?"), "Forty-two.")
        assert len(await sim.requests("oauth.v2.access", before)) == 1

        # The workspace installs the app again, and the conversation continues.
        await sim.consent(1)
        await person.install()
        follow_up = await sim.say(ids.ALICE, general[1], "go on", thread_ts=roots[1])
        await sim.until(lambda: _answers(sim, general[1], roots[1], follow_up))
        history = str((await model.last("go on")).body)
        assert "why?" in history
        assert "Forty-two." in history

        shown = await command("slack", "installations", folder=tmp_path, environ=bot._environ)
        assert shown[0] == 0, shown
        assert ids.TEAM in shown[1]
        assert ids.of(ids.TEAM, 2) in shown[1]
        code, out, err = await command(
            "slack", "uninstall", ids.of(ids.TEAM, 2), folder=tmp_path, environ=bot._environ
        )
        assert code == 0, err
        assert out.startswith("Removed from Home 2;"), out
        assert not installed_in(database, ids.of(ids.TEAM, 2))
    text = bot.log_text() + shown[1] + out + err
    assert not any(secret in text for secret in ("xoxb-", "xoxe", ids.CLIENT_SECRET))
    with closing(sqlite3.connect(database)) as db:
        assert "xox" not in "\n".join(db.iterdump())


async def _answers(sim: SlackSim, channel: str, root: str, after: str) -> bool:
    thread = await sim.thread(channel, root)
    return any(one["ts"] > after and "Forty-two." in one["shown"] for one in thread)


def installed_in(database: Path, team: str) -> bool:
    """Whether the database contains the installation."""
    return bool(look(database, "SELECT 1 FROM installations WHERE workspace = ?", team))


def expire_stored(database: Path, team: str) -> None:
    """Make the bot believe, from its next start on, that a token has expired."""
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("UPDATE installations SET expires_at = 1 WHERE workspace = ?", (team,))


async def test_a_wrong_key_stops_slack_alone_with_one_sentence(
    sim: SlackSim, model: ModelSim, tmp_path: Path
) -> None:
    """Over signed HTTP. As no other platform is configured here, the process ends."""
    more: dict[str, Any] = {
        "SLACK_SIGNING_SECRET": ids.SIGNING_SECRET,
        "SLACK_APP_TOKEN": "",
        "HTTP_TOKENS": "ann:a-token-of-a-person",
    }
    bot = bot_for(sim, model, tmp_path, **more)
    origin = f"http://127.0.0.1:{bot.http_port}"
    await sim.oauth(installed=False, redirect_urls=[f"{origin}/slack/oauth_redirect"])
    await model.script(Answer(text="Forty-two."))
    async with bot:
        assert await sim.set_http(f"{origin}/slack/events")
        assert (await Installer(origin).install()).status == 200
        await shows_answer(sim, ids.GENERAL, await ask(sim, "why?"), "Forty-two.")
        await bot.terminate()
        bot.set(INSTALLATION_KEY=OTHER_KEY)
        await bot.start()
        assert await bot.wait_exit() == 1
    assert bot.log_tail(1).startswith("threadline: INSTALLATION_KEY decrypts none of the stored")
