"""`threadline export feedback` and `threadline eval`, on a database written by the bot."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.domain import evaluation_texts as texts
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.web_kit import HTTP_TOKENS, TOKENS, serving

CONFIG = """
llm = "openai/sim"

[models."openai/sim"]
price = { input = 1, output = 5 }

[models."openai/sim-2"]
price = { input = 10, output = 50 }

[profiles.ops]
prompt = "ops.txt"

[[rules]]
where = "web"
profile = "ops"
"""
EVIL = "<script>alert(1)</script> [x](javascript:alert(2)) **bold**"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the settings of the bot and of the commands."""
    (tmp_path / "ops.txt").write_text("You are terse.")
    (tmp_path / "threadline.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'threadline.db'}")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-simulated")
    return tmp_path


async def converse(home: Path, model: ModelSim) -> None:
    """Alice asks three questions and votes on two of the answers."""
    await model.script(
        Answer(text="Forty-two.", match="six by seven", model="sim"),
        Answer(text=EVIL, match="evil", model="sim"),
        Answer(text="Paris.", model="sim"),
    )
    config = str(home / "threadline.toml")
    async with (
        serving(
            home, model, LLM="openai/sim", HTTP_TOKENS=HTTP_TOKENS, THREADLINE_CONFIG=config
        ) as site,
        site.person(TOKENS["alice"]) as alice,
    ):
        mine = await alice.post("/conversation", {})
        path, rate = (
            f"/conversation/completion/{mine['id']}",
            f"/conversation/{mine['id']}/messages",
        )
        for text, vote in (
            ("the capital of France?", None),
            ("what is six by seven?", {"vote": "down", "comment": "It is 43."}),
            ("something evil?", {"vote": "up"}),
        ):
            answer = await alice.post(path, {"message": text})
            if vote is not None:
                status, _ = await alice.ask("PUT", f"{rate}/{answer['id']}/feedback", vote)
                assert status == 200


async def run(*words: str) -> int:
    """Run a command in another thread, because it runs an event loop."""
    return await asyncio.to_thread(main, words)


async def test_votes_are_exported_and_replayed(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report shows both answers, a failure is a row, and the next run asks only for missing
    answers."""
    async with ModelSim() as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        await converse(home, model)
        capsys.readouterr()
        assert await run("export", "feedback", "--since", "1d") == 0
        printed = capsys.readouterr().out
        down, up = map(json.loads, printed.splitlines())
        assert (down["vote"], down["comment"], up["vote"]) == ("down", "It is 43.", "up")
        assert [each["content"] for each in down["questions"]] == ["what is six by seven?"]
        assert [each["content"] for each in down["history"]] == ["the capital of France?", "Paris."]
        assert (down["reply"], down["model"], down["profile"]) == (
            "Forty-two.",
            "openai/sim",
            "ops",
        )
        assert down["prompt"] == up["prompt"] != ""
        tokens = down["tokens"]
        cost = (tokens["input"] + 5 * tokens["output"]) / 1e6
        assert down["dollars"] == pytest.approx(cost)
        assert 0 <= down["seconds"]["first_token"] <= down["seconds"]["total"]
        assert "alice" not in printed
        (home / "named.jsonl").touch(0o644)
        assert await run("export", "feedback", "--names", "--out", "named.jsonl") == 0
        assert (home / "named.jsonl").stat().st_mode & 0o777 == 0o600
        assert await run("audit") == 0
        entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [
            (each["actor"], each["details"]["names"])
            for each in entries
            if each["action"] == "replies.exported"
        ] == [("operator", False), ("operator", True)]
        named = [json.loads(line) for line in (home / "named.jsonl").read_text().splitlines()]
        assert [(each["person"], each["place"][:2]) for each in named] == [
            ("alice", ["web", "alice"])
        ] * 2
        assert (home / "named.jsonl").stat().st_mode & 0o077 == 0

        (home / "votes.jsonl").write_text(printed)
        (home / "prompt.txt").write_text("Answer like a pirate.")
        await model.reset()
        await model.script(
            Answer(text="Arr, **forty-two**.", match="six by seven", model="sim-2"),
            Answer(text="A tale that breaks off.", match="evil", breaks="cut", at=3, times=1),
            Answer(text="Arr, no.", match="evil"),
        )
        command = ("eval", "votes.jsonl", "--model", "openai/sim-2", "--prompt", "prompt.txt")
        capsys.readouterr()
        assert await run(*command) == 1  # no terminal to confirm it
        assert texts.NOT_CONFIRMED in capsys.readouterr().err
        assert await requests_of_replay(model) == []

        assert await run(*command, "--yes", "--concurrency", "1") == 0
        told = capsys.readouterr().err
        assert "2 requests to openai/sim-2: about" in told
        assert "1 failed" in told
        asked = await requests_of_replay(model)
        assert all(b["messages"][0]["content"].startswith("Answer like a pirate.") for b in asked)
        assert [m["content"] for m in asked[0]["messages"][1:]] == [
            "the capital of France?",
            "Paris.",
            "what is six by seven?",
        ]
        report = (home / "eval.html").read_text()
        assert "<strong>forty-two</strong>" in report
        assert "<del>Forty-two.</del>" in report
        assert "It is 43." in report
        assert "broke off" in report
        assert_safe(report)
        figures = read_figures(home)
        assert (figures["now"]["answers"], figures["now"]["failed"]) == (2, 1)
        assert figures["votes"] == {"up": 1, "down": 1}
        usage = figures["cases"][0]["now"]["tokens"]
        assert figures["cases"][0]["now"]["dollars"] == pytest.approx(
            (10 * usage["input"] + 50 * usage["output"]) / 1e6
        )

        with (home / "eval.jsonl").open("a") as file:
            file.write('{"run": "a run that was killed he')
        assert await run(*command, "--yes") == 0
        assert len(await requests_of_replay(model)) == 3
        assert texts.kept(1) in capsys.readouterr().err
        assert read_figures(home)["now"]["failed"] == 0
        assert "Arr, no." in (home / "eval.html").read_text()
        assert await run(*command) == 0  # nothing is missing, so nothing is asked
        assert len(await requests_of_replay(model)) == 3


async def requests_of_replay(model: ModelSim) -> list[Any]:
    """The replay's requests to the model."""
    return [each.body for each in await model.streams() if each.body["model"] == "sim-2"]


def assert_safe(report: str) -> None:
    """Assert that the report has no script, no handler and no external request."""
    for forbidden in ("<script", "javascript:", "onerror", "<img", "<link", "src=", "@import"):
        assert forbidden not in report.replace("&lt;script&gt;", "").replace("(javascript:", "")
    assert "default-src &#x27;none&#x27;" in report


def read_figures(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "eval.json").read_text())
    return found


async def test_replies_of_the_database_are_replayed(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies without a vote are included; `--limit` takes the newest. A mistake gives one
    sentence."""
    async with ModelSim() as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        await converse(home, model)
        await model.reset()
        await model.say("Another answer.")
        for more, count in (("--limit=1", 1), ("--limit=9", 3)):
            assert await run("eval", "--last", "7d", "--model", "openai/sim-2", "--yes", more) == 0
            assert len(read_figures(home)["cases"]) == count
        asked = await requests_of_replay(model)
        assert len(asked) == 3
        prompts = {body["messages"][0]["content"].partition("\n")[0] for body in asked}
        assert prompts == {"You are terse."}  # the profile's own
        (home / "broken.jsonl").write_text('{"vote": "up"}\n')
        for words, problem in (
            (("export", "feedback", "--since", "yesterday"), "--since: write a number of days"),
            (("eval", "--model", "openai/sim"), "FILE: name a file of"),
            (("eval", "no.jsonl", "--model", "openai/sim"), "no.jsonl: there is no such file"),
            (("eval", "broken.jsonl", "--model", "openai/sim"), "line 1 is not one of"),
            (
                ("eval", "broken.jsonl", "--model", "openai/sim", "--out", "broken.html"),
                "--out: it would overwrite",
            ),
            (("eval", "--last", "7d", "--model", "nowhere/x"), "is not a model"),
            (("eval", "--last", "7d", "--model", "openai/sim", "--prompt", "no"), "--prompt: no"),
        ):
            capsys.readouterr()
            assert await run(*words) == 2, words
            assert problem in capsys.readouterr().err, words
        assert await run("eval", "--last", "0h", "--model", "openai/sim") == 1
        assert texts.NO_CASES in capsys.readouterr().err
