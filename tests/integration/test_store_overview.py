"""The lists that operators see of a real database, and `threadline conversations` on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Address
from bot.domain.overview import ConversationFilter
from bot.domain.status import BudgetPeriod
from bot.store import overview
from tests.support.store_kit import (
    ANN,
    BEN,
    Place,
    PostgresPlace,
    answer_next,
    change,
    connected,
    key,
    look,
    opened,
    said,
)

COLUMNS = ["id", "name", "place", "last", "activity", "messages", "model", "state"]
EVIL = "deploy \x1b[31mred\u202e [bold]now[/bold]"


@pytest.fixture
async def path(place: Place) -> Place:
    """On each engine: a conversation that is answered, one that is asked again, and one that
    waits."""
    async with opened(place) as store:
        first = await store.accept(said(1, "Ärger with the Release"))
        await answer_next(store, first.conversation)
        second = await store.accept(said(2, EVIL, where=key("t2", "c2"), author=BEN))
        await answer_next(store, second.conversation)
        await store.accept(
            said(3, "again", where=key("t2", "c2"), author=ANN, address=Address.FOLLOW_UP)
        )
        await store.accept(said(4, "third", where=ConversationKey("web", "ann", "api", "x")))
    return place


@pytest.fixture
def run(path: Place, tmp_path: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    url = path.url if isinstance(path, PostgresPlace) else f"sqlite:///{path}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("TIMEZONE", "UTC")
    return lambda *words: main(list(words))


def names(path: Place, limit: int = 10, **wanted: object) -> list[str]:
    with connected(path) as db:
        found = overview.conversations(db, ConversationFilter(**wanted), limit)  # type: ignore[arg-type]
    return [each.key.thread for each in found]


# ── the list ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("wanted", "threads"),
    [
        ({}, ["x", "t2", "t1"]),
        ({"platform": "sim"}, ["t2", "t1"]),
        ({"place": "c2"}, ["t2"]),
        ({"place": "w1"}, ["t2", "t1"]),
        ({"place": "w1/c1"}, ["t1"]),
        ({"place": "w1/c1/t1"}, ["t1"]),
        ({"place": "w1/c1/t2"}, []),
        ({"person": "U2"}, ["t2"]),
        ({"person": "U1", "platform": "sim"}, ["t2", "t1"]),
        ({"since": 4e9}, []),
        ({"words": ("RELEASE", "ärger")}, ["t1"]),
        ({"words": ("release", "deploy")}, []),
    ],
)
def test_filters_narrow_the_list(
    path: Place, wanted: dict[str, object], threads: list[str]
) -> None:
    assert names(path, **wanted) == threads


def test_the_limit_counts_what_matches(path: Place) -> None:
    assert names(path, limit=2) == ["x", "t2"]
    assert names(path, limit=1, words=("release",)) == ["t1"]


def test_a_listed_conversation_has_its_newest_turn(path: Place) -> None:
    with connected(path) as db:
        waiting, both, answered = overview.conversations(db, ConversationFilter(), 10)
    assert (answered.state, answered.messages, answered.answered_by) == ("answered", 2, "echo")
    assert (both.state, both.messages) == ("waiting", 3)
    assert (waiting.state, waiting.messages, waiting.answered_by) == ("waiting", 1, None)


async def test_erased_messages_do_not_count(path: Place) -> None:
    async with opened(path) as store:
        await store.erase("sim/w1/c1/m1", with_reply=False)
    with connected(path) as db:
        (answered,) = overview.conversations(db, ConversationFilter(place="c1"), 10)
    assert answered.messages == 1


def test_a_conversation_is_found_by_its_key_and_by_the_beginning_of_its_id(path: Place) -> None:
    with connected(path) as db:
        ((uid, conversation),) = overview.find(db, "sim/w1/c1/t1")
        assert overview.find(db, uid[:8]) == [(uid, conversation)]
        assert overview.find(db, uid[:8].upper()) == [(uid, conversation)]
        assert overview.find(db, "") and overview.find(db, "sim/w1/c1/t9") == []


# ── the commands ──────────────────────────────────────────────────────────────────────────────
def test_the_table_shows_names_without_control_characters(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("conversations", "--platform", "sim") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split() == COLUMNS
    assert "deploy \\x1b[31mred\\u202e [bold]now[/bold]" in lines[1] and "waiting" in lines[1]
    assert "sim/w1/c1" in lines[2] and "answered" in lines[2] and "echo" in lines[2]
    assert all(line == line.rstrip() for line in lines)


def test_json_lines_have_everything(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("conversations", "--json", "--limit", "1", "--place", "c1") == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert len(found["id"]) == 36 and found["thread"] == "t1" and found["state"] == "answered"


def test_a_list_that_ends_at_its_limit_says_so(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("conversations", "--limit", "2") == 0
    assert "--limit shows more" in capsys.readouterr().out
    assert run("conversations", "--name", "nothing like it") == 0
    assert capsys.readouterr().out == "no conversation matches\n"


def test_show_prints_markdown(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("conversations", "show", "sim/w1/c2/t2") == 0
    out = capsys.readouterr().out
    assert out.startswith("# deploy \\x1b[31mred")
    assert "## Ben, " in out and "## Threadline (echo), " in out and "## Ann, " in out
    assert out.index("Forty-two.") < out.index("again")
    assert "\x1b" not in out and "\u202e" not in out


async def test_show_says_where_the_conversation_was_reset(
    path: Place, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(path) as store:
        await store.reset(key())
        await store.accept(said(9, "afresh", address=Address.FOLLOW_UP))
    assert run("conversations", "show", "sim/w1/c1/t1") == 0
    out = capsys.readouterr().out
    assert out.index("Forty-two.") < out.index("was reset here") < out.index("afresh")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "sim/w1/c1/t9"), 1, "There is no such conversation"),
        (("show", "abc"), 2, "write the beginning of an id"),
        (("--since", "yesterday"), 2, "--since"),
        (("--limit", "0"), 2, "--limit"),
    ],
)
def test_what_cannot_be_found_or_read_is_one_sentence(
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    words: Sequence[str],
    code: int,
    said: str,
) -> None:
    assert run("conversations", *words) == code
    assert said in capsys.readouterr().err


def test_each_look_is_in_the_audit(path: Place, run: Callable[..., int]) -> None:
    run("conversations", "--platform", "sim", "--person", "U2")
    run("conversations", "show", "sim/w1/c2/t2")
    found = look(path, "SELECT action, platform, channel, actor, subject, details FROM audit")
    listed, read = found
    assert listed[:5] == ("conversations.listed", "", "", "operator", "U2")
    assert json.loads(listed[5]) == {"platform": "sim"}
    assert read[:5] == ("conversation.read", "sim", "c2", "operator", "U2")
    assert len(json.loads(read[5])["conversation"]) == 36


def test_an_erasure_replaces_the_person_in_these_entries(
    path: Place, run: Callable[..., int]
) -> None:
    run("conversations", "--platform", "sim", "--person", "U2")
    run("conversations", "show", "sim/w1/c2/t2")
    assert run("forget", "sim/w1/U2", "--yes") == 0
    subjects = look(path, "SELECT subject FROM audit WHERE action LIKE 'conversation%' ORDER BY id")
    assert len(subjects) == 2
    assert all(subject.startswith("erased:") for (subject,) in subjects)


def test_what_cannot_be_recorded_is_not_shown(
    path: Place, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    if isinstance(path, PostgresPlace):
        return  # where a missing table is a bug, and ends the command with a traceback
    change(path, "DROP TABLE audit")
    assert run("conversations") == 1
    assert "deploy" not in capsys.readouterr().out


# ── status ────────────────────────────────────────────────────────────────────────────────────
def test_list_unfinished_turns_are_listed_oldest_first(path: Place) -> None:
    with connected(path) as db:
        found = overview.list_unfinished_turns(db, 10)
        assert [(turn.turn, turn.platform, turn.state) for turn in found] == [
            (3, "sim", "waiting"),
            (4, "web", "waiting"),
        ]
        assert overview.list_unfinished_turns(db, 1) == found[:1]


def test_the_list_of_unfinished_turns_does_not_read_the_history(path: Place) -> None:
    if isinstance(path, PostgresPlace):
        return  # its planner knows how few they are
    with connected(path) as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN {overview._UNFINISHED}", (10,)).fetchall()
    steps = [row["detail"] for row in plan]
    assert "SCAN turns USING INDEX turns_unfinished" in steps
    assert not any(step in ("SCAN turns", "SCAN conversations") for step in steps)


def test_budgets_are_summed_over_their_accounts(path: Place) -> None:
    rows = [("daily", "a", 90, 0), ("daily", "b", 120, 0), ("daily", "c", 10, 0)]
    for values in (*rows, ("money", "all", 5, 500_000_000)):
        change(
            path,
            "INSERT INTO budget_sums (budget, account, period, tokens, cost)"
            " VALUES (?, ?, '2026-11-30', ?, ?)",
            *values,
        )
    budgets = [
        BudgetPeriod("money", "all", "day", "2026-11-30", 1_000_000_000, in_money=True),
        BudgetPeriod("daily", "person", "day", "2026-11-30", 100, in_money=False),
        BudgetPeriod("unused", "person", "day", "2026-11-30", 100, in_money=False),
        BudgetPeriod("daily", "person", "day", "2026-11-29", 100, in_money=False),
    ]
    with connected(path) as db:
        daily, money = overview.budget_statuses(db, budgets)
    assert (daily.accounts, daily.nearly_spent, daily.highest) == (3, 2, 1.2)
    assert (money.accounts, money.nearly_spent, money.highest) == (1, 0, 0.5)


def test_a_missing_database_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    for words in (["status", "--once"], ["conversations"], ["conversations", "show", "a/b/c/d"]):
        assert main(words) == 1
        assert "There is no database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
