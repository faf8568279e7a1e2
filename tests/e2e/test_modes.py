"""The ways to run the bot: Slack over HTTP, both platforms, other models, commands, exits."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import sqlite3
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from tests.sims.discord import constants as d
from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack import ids as s
from tests.sims.slack.client import SlackSim
from tests.support.fork_server import SWITCH
from tests.support.harness import ROOT, BotProcess, command
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver, ThreadRef

CODE = "As **code**:\n\n```py\nreturn 1\n```"
CODE_SHOWN = "\x1b[94mreturn\x1b[39;49;00m"


@pytest.fixture
async def discord() -> AsyncIterator[DiscordDriver]:
    async with DiscordSim() as sim:
        yield DiscordDriver(sim)


@pytest.fixture
async def slack() -> AsyncIterator[SlackDriver]:
    async with SlackSim() as sim:
        yield SlackDriver(sim)


def settings_of(model: ModelSim, *drivers: PlatformDriver, **more: str) -> dict[str, str]:
    merged = {"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url, "SYSTEM_PROMPT": "Be brief."}
    for driver in drivers:
        merged.update(driver.settings())
    return {**merged, **more}


async def whole(driver: PlatformDriver, thread: ThreadRef, text: str) -> None:
    """Wait until the bot's newest message contains `text` and nothing is being written."""

    async def check() -> bool:
        seen = await driver.seen(thread)
        return bool(seen) and text in seen[-1].text and not seen[-1].working

    await driver.sim.until(check)


# ── platforms ─────────────────────────────────────────────────────────────────────────────────
async def test_slack_over_signed_http(slack: SlackDriver, model: ModelSim, tmp_path: Path) -> None:
    """One HTTP port serves Slack's events and /healthz, and a forged event is refused.

    The port is published, so without tokens the page and the API are closed whatever the Host
    header says.
    """
    await model.say("Over HTTP.")
    environ = settings_of(model, slack, SLACK_SIGNING_SECRET=s.SIGNING_SECRET, SLACK_APP_TOKEN="")
    async with BotProcess(tmp_path, environ) as bot:
        events = f"http://127.0.0.1:{bot.http_port}/slack/events"
        await slack.sim.until(lambda: slack.sim.set_http(events))
        thread = await slack.mention("hello over http")
        await whole(slack, thread, "Over HTTP.")
        async with aiohttp.ClientSession() as session:
            forged = {"type": "event_callback", "event": {"type": "app_mention"}}
            async with session.post(events, json=forged) as response:
                assert response.status == 401
            for path in ("/", "/conversation", "/app/session", "/openapi.json", "/static/app.js"):
                async with session.get(f"http://127.0.0.1:{bot.http_port}{path}") as response:
                    assert (response.status, set(await response.json())) == (403, {"error"})


async def test_both_platforms_in_one_process(
    discord: DiscordDriver,
    slack: SlackDriver,
    model: ModelSim,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bot is started with a new interpreter, as people start it."""
    monkeypatch.setenv(SWITCH, "0")
    await model.say("Here I am.")
    async with BotProcess(tmp_path, settings_of(model, discord, slack)):
        there, here = await asyncio.gather(discord.mention("where?"), slack.mention("where?"))
        await whole(discord, there, "Here I am.")
        await whole(slack, here, "Here I am.")


async def test_health_names_the_disconnected_platform(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    async with BotProcess(tmp_path, settings_of(model, discord)) as bot:
        await discord.sim.offline()

        async def unhealthy() -> bool:
            return not await bot.healthy()

        await discord.sim.until(unhealthy)
        await discord.sim.online()
        await discord.sim.until(bot.healthy)


async def test_reset_by_slash_in_a_discord_thread(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    async with BotProcess(tmp_path, settings_of(model, discord)):
        thread = await discord.mention("the first")
        await whole(discord, thread, "the first")
        used = await discord.sim.slash(d.ALICE, thread.id, "reset")

        async def is_recorded() -> bool:
            answers = (await discord.sim.interaction(used))["answers"]
            return any("Started over" in str(answer) for answer in answers)

        await discord.sim.until(is_recorded)
        await discord.say(thread, "the second")
        await whole(discord, thread, "the second")
        messages = (await model.last("the second")).body["messages"]
        assert messages[0]["content"].startswith("Be brief.\n\nToday is ")
        assert [m["content"] for m in messages[1:]] == ["Alice: the second"]


async def test_reset_by_slash_in_a_slack_channel_offers_the_threads_there(
    slack: SlackDriver, model: ModelSim, tmp_path: Path
) -> None:
    """Slash commands do not exist inside threads, so in a channel /reset offers the person's
    threads there."""
    async with BotProcess(tmp_path, settings_of(model, slack)):
        thread = await slack.mention("about cats")
        await whole(slack, thread, "about cats")
        used = await slack.sim.slash(s.ALICE, s.GENERAL, "/reset")
        assert used["acked"], used

        async def offers() -> list[dict[str, str]]:
            shown = str(await slack.sim.ephemeral(s.ALICE)) + str(
                await slack.sim.responses(used["hook"])
            )
            return [{}] if "about cats" in shown else []

        await slack.sim.until(offers)
        shortcut = await slack.sim.shortcut(
            s.ALICE, "threadline_reset", channel=thread.channel, message_ts=thread.id
        )
        assert shortcut["acked"], shortcut

        async def has_new_epoch() -> bool:
            await slack.say(thread, "what now")
            await whole(slack, thread, "what now")
            messages = (await model.last("what now")).body["messages"]
            return messages[1]["content"].endswith(": what now")

        await slack.sim.until(has_new_epoch)


async def test_a_discord_forum_post_started_by_a_person(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    """When mentioned in the post, the bot reads its earlier messages, including the title."""
    async with BotProcess(tmp_path, settings_of(model, discord)):
        post = await discord.sim.forum_post(d.BOB, "Which editor?", "I like vi")
        thread = post["thread"] if isinstance(post, dict) else post
        await discord.sim.say(d.ALICE, thread, "I like ed")
        await discord.sim.mention("settle it", channel=thread)
        await whole(discord, ThreadRef(d.FORUM, thread, thread), "settle it")
        told = str((await model.last("settle it")).body["messages"])
        assert "I like vi" in told
        assert "I like ed" in told


async def test_discord_without_thread_permission_answers_in_a_reply_chain(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    await discord.sim.set_permissions(d.CHANNEL, deny=["create_public_threads"])
    async with BotProcess(tmp_path, settings_of(model, discord)):
        question = await discord.mention("no threads here")
        chain = ThreadRef(d.CHANNEL, d.CHANNEL, question.question)
        await whole(discord, chain, "no threads here")
        (reply,) = await discord.sim.messages(d.CHANNEL, author=d.BOT)
        assert reply["reply_to"] == question.question
        await discord.sim.say(d.ALICE, d.CHANNEL, "go on", reply_to=reply["id"])
        await whole(discord, chain, "go on")
        messages = (await model.last("go on")).body["messages"]
        assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]


# ── models ────────────────────────────────────────────────────────────────────────────────────
async def test_huggingface_endpoint(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    await model.flavor("huggingface")
    await model.say("From a face.")
    environ = settings_of(
        model, discord, LLM="huggingface:org/sim", HF_BASE_URL=model.url, HF_TOKEN="hf_simulated"
    )
    async with BotProcess(tmp_path, environ):
        thread = await discord.mention("who are you?")
        await whole(discord, thread, "From a face.")
        record = await model.last()
        assert record.body["model"] == "org/sim"
        assert record.authorization == "Bearer hf_simulated"


async def test_the_chain_falls_back_before_the_first_token_and_says_so(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    await model.refuse("bad_key", model="sim", times=None)
    await model.say("From the second.", model="sim-2")
    environ = settings_of(model, discord, LLM="openai:sim,openai:sim-2")
    async with BotProcess(tmp_path, environ) as bot:
        thread = await discord.mention("anyone?")
        await whole(discord, thread, "From the second.")
        assert "openai:sim" in str([e for e in bot.events() if e["level"] == "warning"])


# ── exits ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"LLM": "gpt-5"}, "LLM"),
        ({"DISCORD_TOKEN": "t"}, "LLM"),
        ({"HTTP_PORT": "eighty"}, "HTTP_PORT"),
        ({"DISCORD_TOKEN": "t", "LLM": "openai:x"}, "OPENAI_API_KEY"),
    ],
)
async def test_wrong_setting_ends_with_2_and_one_line_that_names_it(
    tmp_path: Path, environ: dict[str, str], name: str
) -> None:
    code, out, err = await command("run", folder=tmp_path, environ=environ)
    assert code == 2
    assert out == ""
    assert err.startswith(f"threadline: {name}: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "threadline.db").exists(), "something was started"


async def test_refused_token_ends_with_1_and_one_sentence(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    environ = settings_of(model, discord, DISCORD_TOKEN="wrong-token")
    code, _, err = await command("run", folder=tmp_path, environ=environ)
    assert code == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("threadline: ")
    assert "DISCORD_TOKEN" in last
    assert "wrong-token" not in err


async def test_missing_intent_says_which_switch_to_turn(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    await discord.sim.grant_intents()
    code, _, err = await command("run", folder=tmp_path, environ=settings_of(model, discord))
    assert code == 1
    assert "Message Content Intent" in err.strip().splitlines()[-1].replace("content", "Content")


async def test_doctor_checks_everything_and_gives_advice(
    discord: DiscordDriver, slack: SlackDriver, model: ModelSim, tmp_path: Path
) -> None:
    environ = settings_of(model, discord, slack)
    code, out, err = await command("doctor", folder=tmp_path, environ=environ)
    assert code == 0, out + err
    for subject in ("settings", "database", "openai:sim", "Discord", "Slack"):
        assert subject.lower() in out.lower()
    await slack.sim.scopes([scope for scope in s.SCOPES if scope != "chat:write"])
    await model.key("sk-other")
    code, out, _ = await command("doctor", folder=tmp_path, environ=environ)
    assert code == 1
    assert "chat:write" in out
    assert "→" in out


async def test_second_process_on_the_same_database_is_refused(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    environ = settings_of(model, discord)
    async with BotProcess(tmp_path, environ) as bot:
        database = f"sqlite:///{tmp_path / 'threadline.db'}"
        code, _, err = await command(
            "run", folder=tmp_path, environ={**environ, "DATABASE_URL": database}
        )
        assert code == 1
        assert str(bot.pid) in err.strip().splitlines()[-1]


async def test_version_and_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = await command(folder=tmp_path, environ={})
    assert code == 2
    assert "doctor" in out
    code, out, _ = await command("version", folder=tmp_path, environ={})
    assert (code, out) == (0, "threadline 0.1.0\n")
    code, out, _ = await command("--help", folder=tmp_path, environ={})
    assert code == 0
    assert all(name in out for name in ("run", "chat", "migrate", "doctor", "version"))
    monkeypatch.setenv(SWITCH, "0")  # with a new interpreter, as people start it
    assert (await command("--version", folder=tmp_path, environ={}))[0] == 0


async def test_terminal_remembers_across_restarts(model: ModelSim, tmp_path: Path) -> None:
    """`echo … | python -m bot chat` prints only the answer."""
    first = await chat("hello", tmp_path)
    second = await chat("and again", tmp_path)
    assert "1 message " in first
    assert "3 messages" in second


async def test_pipe_gets_the_answer_on_stdout_and_a_failure_on_stderr(
    model: ModelSim, tmp_path: Path
) -> None:
    """Scripts detect the failure by the exit code; the text before the failure is still printed."""
    environ = {"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url}
    await model.script(
        Answer(match="half", text="Half of it is here.", rate=0, breaks="end", at=4),
        Answer(match="badly", fault="bad_key"),  # joined with the next question
        Answer(match="well", text="All of\n\nit."),
    )
    code, out, err = await run_piped("go well", tmp_path, environ)
    assert (code, out, err) == (0, "All of\n\nit.\n", "")
    code, out, err = await run_piped("go badly", tmp_path, environ)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("threadline: The model refused my key")
    code, out, err = await run_piped("go half", tmp_path, environ)
    assert code == 1
    assert out.startswith("Half of") and "broke off" not in out
    assert "broke off" in err


async def test_pipe_beside_a_question_is_its_file(model: ModelSim, tmp_path: Path) -> None:
    """This holds in this process and with a running bot. Oversized input gives one sentence, and no
    question is asked."""
    await model.script(Answer(match="why did it fail", text="Out of memory."))
    environ = {
        "LLM": "openai:sim",
        "OPENAI_BASE_URL": model.base_url,
        "ATTACHMENT_MAX_MB": "1",
    }
    question = "why did it fail?"
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
    assert await run_piped("killed\n", tmp_path / "here", environ, question) == (
        *(0, "Out of memory.\n", ""),
    )
    code, out, err = await run_piped("x" * 1_000_001, tmp_path / "here", environ, question)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "threadline: The input is too large: it may have 1 MB at most."
    async with BotProcess(tmp_path / "there", environ) as bot:
        environ["HTTP_PORT"] = str(bot.http_port)
        assert await run_piped("killed\n", tmp_path / "there", environ, question) == (
            *(0, "Out of memory.\n", ""),
        )
    for folder in (tmp_path / "here", tmp_path / "there"):
        with contextlib.closing(sqlite3.connect(folder / "threadline.db")) as database:
            found = database.execute("SELECT name, media_type, size FROM attachments").fetchall()
        assert found == [("stdin.txt", "text/plain", 7)]


async def test_the_terminal_connects_to_a_running_bot(model: ModelSim, tmp_path: Path) -> None:
    """This goes through the bot's port, with a token where needed; the conversation is a thread on
    the page."""
    await model.script(
        Answer(match="story", text="**Once** there was a thread. " * 12, wait_at=24),
        Answer(match="badly", fault="bad_key"),  # joined with the next question
        Answer(match="first", text="One."),
        Answer(match="wonder", reasoning="Let me see. " * 20, text="**Two**.", rate=200),
    )
    environ = {
        "LLM": "openai:sim",
        "OPENAI_BASE_URL": model.base_url,
        "HTTP_TOKENS": "ann:a-token-of-sufficient-length",
    }
    async with BotProcess(tmp_path, environ) as bot:
        environ["HTTP_PORT"] = str(bot.http_port)
        assert await run_piped("the first", tmp_path, environ) == (0, "One.\n", "")
        assert await run_piped("I wonder", tmp_path, environ) == (0, "**Two**.\n", "")
        code, out, err = await run_piped("and badly", tmp_path, environ)
        assert (code, out) == (1, "")
        assert "refused my key" in err
        said = [m["content"] for m in (await model.last("badly")).body["messages"]]
        assert "One." in said
        async with Terminal(tmp_path, environ | {"TERM": "xterm"}) as terminal:
            await terminal.shows("of the running bot · openai:sim · conversation “main”")
            await terminal.shows("you>")
            await terminal.type("a story\r")
            await terminal.shows("\x1b[1mOnce\x1b[22m there")
            await terminal.type("\x03")
            await terminal.shows("you>")
            await terminal.type("/help\r")
            await terminal.asks_after("start over")
            await terminal.type("/quit\r")
            assert await terminal.wait_exit() == 0
        assert (await model.last("story")).outcome == "disconnected"
        environ["HTTP_PORT"] = "1"
        code, out, err = await run_piped("hello", tmp_path, environ)
        assert (code, out) == (1, "")
        assert "set HTTP_PORT" in err and "Traceback" not in err


async def test_forgetting_a_person_also_empties_the_terminals_history(tmp_path: Path) -> None:
    """The file and the arrow keys have nothing that was written before."""
    async with Terminal(tmp_path, {"LLM": "echo", "TERM": "xterm"}) as terminal:
        await terminal.shows("you>")
        await terminal.type("a secret question\r")
        await terminal.asks_after("I only repeat")
        await terminal.type("/forget me\r")
        await terminal.asks_after("To confirm")
        assert "a secret question" in (tmp_path / ".threadline_history").read_text()
        await terminal.type("/forget me yes\r")
        await terminal.asks_after("Your receipt")
        assert (tmp_path / ".threadline_history").read_bytes() == b""
        await terminal.type("\x1b[A\x1b[Aafter it\r")
        await terminal.asks_after("You wrote:\r\n\r\nafter it\r\n")
        await terminal.type("/quit\r")
        assert await terminal.wait_exit() == 0
    for name in ("threadline.db", ".threadline_history"):
        assert b"a secret question" not in (tmp_path / name).read_bytes()


async def test_terminal_works_in_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """Our container's root is read-only, and so is /proc, even for root."""
    database = f"sqlite:///{tmp_path / 'threadline.db'}"
    environ = {"LLM": "echo", "TERM": "xterm", "DATABASE_URL": database}
    async with Terminal(Path("/proc"), environ) as terminal:
        await terminal.shows("you>")
        await terminal.type("hello\r")
        await terminal.asks_after("I only repeat")
        await terminal.type("/quit\r")
        assert await terminal.wait_exit() == 0


async def test_control_c_stops_the_answer_and_not_the_program(
    model: ModelSim, tmp_path: Path
) -> None:
    """Uses a real terminal, where the line editor handles the same signal between lines."""
    await model.script(
        Answer(match="story", text="Once there was a thread. " * 12, wait_at=20),
        Answer(match="again", text="Still here."),
        Answer(match="code", text=CODE, rate=200),
    )
    environ = {"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url, "TERM": "xterm"}
    async with Terminal(tmp_path, environ) as terminal:
        await terminal.shows("Threadline · openai:sim · conversation “main”")
        await terminal.shows("you>")
        await terminal.type("a story\r")
        await terminal.shows("Once there")
        await terminal.type("\x03")
        await terminal.asks_after("Stopped.")
        await terminal.type("again\r")
        await terminal.asks_after("Still here.")
        await terminal.type("code\r")
        await terminal.asks_after(CODE_SHOWN)
        await terminal.type("/quit\r")
        assert await terminal.wait_exit() == 0
    async with Terminal(tmp_path, environ | {"NO_COLOR": "1"}) as terminal:
        await terminal.shows("you>")
        await terminal.type("\x1a")  # suspends under a shell, and is no character of the line
        await terminal.type("code\r")
        await terminal.asks_after("```py\r\nreturn 1\r\n```")
        assert (await model.last("code")).body["messages"][-1]["content"] == "code"
        await terminal.type("\x04")
        assert await terminal.wait_exit() == 0


class Terminal:
    """`python -m bot chat` on a pseudo-terminal."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._environ = folder, environ
        self._screen = ""

    async def __aenter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "chat"),
            cwd=self._folder,
            env=environ_of(self._folder, self._environ),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=controlling_terminal,
        )
        os.close(theirs)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        os.close(self._ours)

    def _read(self) -> None:
        try:
            self._screen += os.read(self._ours, 65_536).decode(errors="replace")
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._ours)

    async def type(self, keys: str) -> None:
        """Press keys, and discard earlier output."""
        self._screen = ""
        os.write(self._ours, keys.encode())

    async def shows(self, text: str) -> None:
        """Wait until `text` was written since the last keys."""
        async with asyncio.timeout(60):
            while text not in self._screen:
                await asyncio.sleep(0.02)

    async def asks_after(self, text: str) -> None:
        """Wait for the next prompt after `text`, since keys pressed earlier could reach another
        reader."""
        async with asyncio.timeout(60):
            while "you>" not in self._screen.partition(text)[2]:
                await asyncio.sleep(0.02)

    async def wait_exit(self) -> int:
        return await asyncio.wait_for(self._process.wait(), 60)


def controlling_terminal() -> None:
    """Make this terminal the child's controlling one, so that Ctrl-C sends the signal."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def environ_of(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    path = os.environ["PATH"]
    return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder), **environ}


async def chat(text: str, folder: Path) -> str:
    code, out, err = await run_piped(text, folder, {"LLM": "echo"})
    assert (code, err) == (0, "")
    return out


async def run_piped(
    text: str, folder: Path, environ: Mapping[str, str], *words: str
) -> tuple[int, str, str]:
    """`echo TEXT | python -m bot chat WORDS`: exit code, stdout, stderr."""
    environ = {"HOME": str(folder), **environ}
    return await command("chat", *words, folder=folder, environ=environ, piped=text)
