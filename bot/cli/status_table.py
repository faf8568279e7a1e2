"""Renders a bot's status as tables for the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bot.common.logs import one_line
from bot.domain import status_texts
from bot.domain.status import BudgetStatus, ScopeStatus, Status

GOOD, WARNING, BAD, HEADING = "green", "yellow", "bold red", "bold"
PIPE_WIDTH = 1_000
"""Width of a line written to a pipe, in characters: more than any table needs."""

_SCARCE = 0.2
"""A request budget is shown in yellow once this share or less is left."""


def print_once(status: Status) -> None:
    """Print the status to stdout."""
    print_whole(render(status))


def print_whole(content: RenderableType) -> None:
    """Print to stdout. In a pipe nothing is cut or padded, because other programs read it."""
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(content)
        return
    console.width = PIPE_WIDTH
    with console.capture() as captured:
        console.print(content)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


@contextmanager
def live_table(first: Status) -> Iterator[Callable[[Status], None]]:
    """Show a table on a separate screen; the yielded function replaces it."""
    console = Console(highlight=False, markup=False, emoji=False)
    with Live(render(first), console=console, auto_refresh=False, screen=True) as live:
        yield lambda status: live.update(render(status), refresh=True)


def render(status: Status) -> RenderableType:
    """Render everything, one block below the other."""
    blocks = [
        _heading(status),
        _platforms(status),
        _turns(status),
        _leftovers(status),
        _scopes(status),
        _breakers(status),
        _budgets(status),
        _problems(status),
    ]
    return Group(*(block for block in blocks if block is not None))


def _heading(status: Status) -> RenderableType:
    text = Text()
    if status.pid is None:
        text.append(status_texts.NOT_RUNNING, WARNING)
    else:
        text.append(f"Threadline {one_line(status.version)}", HEADING)
        running = status_texts.seconds(status.at - (status.started_at or status.at))
        text.append(f"  process {status.pid}, running for {running}")
        if status.draining:
            text.append("  draining: it starts no more turns", WARNING)
    text.append("\n")
    size = status.database.get("size", 0)
    is_well = bool(status.database.get("ok"))
    text.append("database ", HEADING)
    text.append("works" if is_well else "FAILS", GOOD if is_well else BAD)
    text.append(f"  {status_texts.megabytes(float(size))}")
    trouble = status.database.get("trouble")
    if trouble:
        text.append(f"  {one_line(trouble)}", BAD)
    for name, words in status.parts.items():
        text.append(f"\n{one_line(name)} ", HEADING)
        text.append(one_line(words), BAD)
    return text


def _platforms(status: Status) -> RenderableType | None:
    if not status.platforms:
        return None
    table = _table("platform", "state", "last event", "last reply", "")
    for each in status.platforms:
        table.add_row(
            one_line(each.name),
            Text("connected", GOOD) if each.ok else Text("DOWN", BAD),
            status_texts.ago(status.at, each.last_event_at),
            status_texts.ago(status.at, each.last_reply_at),
            one_line(", ".join(f"{name} {value}" for name, value in each.details.items())),
        )
    return _block(table)


def _turns(status: Status) -> RenderableType:
    text = Text("turns ", HEADING)
    if status.slots:
        slots = status.slots
        text.append(
            f" {slots['used']:,} of {slots['all']:,} slots used, {slots['queued']:,} queued"
        )
    counts = [
        f"{one_line(platform)}: {count:,} {one_line(state)}"
        for platform, by_state in status.unfinished.items()
        for state, count in by_state.items()
    ]
    text.append("  " + (", ".join(counts) or status_texts.NOTHING_UNFINISHED))
    if not status.turns:
        return _block(text)
    table = _table("turn", "platform", "state", "attempt", "age")
    for turn in status.turns:
        table.add_row(
            str(turn.turn),
            one_line(turn.platform),
            one_line(turn.state),
            str(turn.attempt),
            status_texts.seconds(status.at - turn.since),
        )
    return _block(Group(text, table))


def _leftovers(status: Status) -> RenderableType | None:
    if not status.leftovers:
        return None
    table = _table("not removed yet", "", "oldest")
    for each in status.leftovers:
        table.add_row(
            one_line(each.platform),
            one_line(f"{each.count:,} × {each.kind}"),
            Text(status_texts.ago(status.at, each.oldest_at), WARNING),
        )
    return _block(table)


def _scopes(status: Status) -> RenderableType | None:
    if not status.scopes:
        return None
    table = _table("rate limit", "left", "429s")
    for each in status.scopes:
        table.add_row(
            one_line(f"{each.platform} {each.scope}"),
            _left(each),
            Text(f"{each.throttled:,}", WARNING if each.throttled else ""),
        )
    return _block(table)


def _left(scope: ScopeStatus) -> Text:
    if scope.left is None:
        return Text("unknown")
    if scope.limit is None:
        return Text(f"{scope.left:,}", BAD if not scope.left else "")
    style = BAD if not scope.left else WARNING if scope.left < _SCARCE * scope.limit else ""
    return Text(f"{scope.left:,} of {scope.limit:,}", style)


def _breakers(status: Status) -> RenderableType | None:
    if not status.breakers:
        return None
    table = _table("model", "circuit breaker")
    for model, state in sorted(status.breakers.items()):
        style = GOOD if state == "closed" else WARNING if state == "half_open" else BAD
        table.add_row(one_line(model), Text(one_line(state.replace("_", " ")), style))
    return _block(table)


def _budgets(status: Status) -> RenderableType | None:
    if not status.budgets:
        return None
    table = _table("budget", "of each", "highest use", "nearly spent")
    for each in status.budgets:
        table.add_row(
            one_line(each.name),
            one_line(f"{each.scope}, {each.period}"),
            _used(each),
            f"{each.nearly_spent:,} of {each.accounts:,}",
        )
    return _block(table)


def _used(budget: BudgetStatus) -> Text:
    style = BAD if budget.highest >= 1 else WARNING if budget.nearly_spent else ""
    return Text(f"{budget.highest:.0%}", style)


def _problems(status: Status) -> RenderableType | None:
    if not status.problems:
        return None
    table = _table("latest problems", "", "turn", "")
    for each in reversed(status.problems):
        table.add_row(
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at)),
            Text(one_line(each.level), WARNING if each.level == "warning" else BAD),
            "" if each.turn is None else str(each.turn),
            one_line(each.event or f"a library: {each.logger}"),
        )
    return _block(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style=HEADING)
    for column in columns:
        table.add_column(column)
    return table


def _block(content: RenderableType) -> RenderableType:
    return Padding(content, (1, 0, 0, 0))


def table_of(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Build a plain table; the text may come from outside, so each cell is put on one line."""
    table = _table(*columns)
    for line in lines:
        table.add_row(*(one_line(cell) for cell in line))
    return table
