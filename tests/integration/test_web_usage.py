"""Usage by people, in the composed bot: the API, /usage, and the command line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.sims.model.client import ModelSim
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, serving, until

CONFIG = """
currency = "EUR"
usd_rate = 0.5

[models."openai/sim"]
price = { input = 1000, output = 5000 }
max_output = 50

[[budgets]]
per = "person"
period = "day"
amount = "0.25 €"

[[budgets]]
per = "all"
period = "month"
tokens = 100000
"""


async def read_answer(person: Person, text: str) -> dict[str, object]:
    sent = await person.say(f"@threadline {text}")

    async def check() -> dict[str, object] | None:
        replies = await person.replies(sent["thread"])
        return replies[-1] if replies and replies[-1]["state"] != "writing" else None

    found: dict[str, object] = await until(check)
    return found


async def test_usage_is_counted_shown_and_limited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """People see their own usage and administrators all of it; nothing is spent beyond the
    budget."""
    file = tmp_path / "threadline.toml"
    file.write_text(CONFIG)
    async with (
        ModelSim() as model,
        serving(
            tmp_path,
            model,
            LLM="openai/sim",
            HTTP_TOKENS=HTTP_TOKENS,
            ADMINS="web:bob",
            THREADLINE_CONFIG=str(file),
        ) as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        await model.say("word " * 20, rate=0)
        nothing = await alice.get("/usage")
        assert (nothing["today"]["requests"], nothing["days"]) == (0, [])
        replies = [await read_answer(alice, f"question {k}") for k in range(5)]
        given = [reply for reply in replies if reply["state"] == "done"]
        assert 1 < len(given) < 5
        assert "Your budget for today is used up" in str(replies[-1]["html"])
        counts = [(each.usage or {}) for each in await model.streams()]
        cost = sum(u["prompt_tokens"] / 1e3 + u["completion_tokens"] / 200 for u in counts)
        cost *= 0.5  # in euros
        assert sum(float(str(reply["cost"])) for reply in given) == pytest.approx(cost)
        assert {reply["currency"] for reply in given} == {"EUR"}

        own = await alice.get("/usage")
        assert own["today"] == own["month"]
        assert own["today"]["requests"] == len(given)
        assert own["today"]["cost"] == pytest.approx(cost)
        assert own["today"]["total_tokens"] == sum(u["total_tokens"] for u in counts)
        assert [each["day"] for each in own["days"]] == [own["last_day"]]
        day, month = own["budgets"]
        fields = ("scope", "unit", "currency", "limit", "left")
        assert [day[field] for field in fields] == ["person", "money", "EUR", 0.25, 0]
        assert month["currency"] is None
        assert (month["scope"], month["spent"]) == ("all", own["today"]["total_tokens"])
        assert (await bob.get("/usage"))["today"]["requests"] == 0

        said = await alice.post("/app/commands", {"name": "usage", "thread": None})
        assert "Your budget for today: €0.00 of €0.25 left; full again on" in said["answer"]
        refused = await alice.say("/usage channel")
        assert refused["answer"] == "Only administrators may see what a channel used."

        assert (await alice.ask("GET", "/admin/usage"))[0] == 403
        found = await bob.get("/admin/usage", params=[("by", "person"), ("by", "model")])
        ((group, requests),) = [(each["group"], each["requests"]) for each in found]
        assert (group, requests) == ({"person": "alice", "model": "openai/sim"}, len(given))
        async with bob.http.get("/admin/usage.csv") as response:
            (row,) = csv.DictReader(io.StringIO(await response.text()))
        assert (row["person"], row["model"]) == ("alice", "openai/sim")
        assert float(row["cost_eur"]) == pytest.approx(cost)
        entries = [each for each in await bob.get("/admin/audit") if each["action"] == "usage.read"]
        assert [(each["actor"], each["details"]["by"]) for each in entries] == [
            ("bob", ["person", "model"]),
            ("bob", ["day", "person", "channel", "model"]),
        ]
        async with alice.http.get("/usage.csv") as response:
            assert response.content_type == "text/csv"
            (line,) = csv.DictReader(io.StringIO(await response.text()))
        assert line["day"] == own["last_day"]

    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'threadline.db'}")
    assert main(["usage", "--csv", "--by", "person,model"]) == 0
    (printed,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (printed["person"], printed["requests"]) == ("alice", str(len(given)))
    assert float(printed["cost_eur"]) == pytest.approx(cost)
    assert main(["usage"]) == 0
    table = capsys.readouterr().out
    assert "alice" in table and "€" in table
    assert main(["usage", "--by", "colour"]) == 2
