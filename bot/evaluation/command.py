"""The commands about feedback: `threadline export feedback` and `threadline eval`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from bot.common.clock import SystemClock
from bot.config.models import resolve
from bot.config.policy_rules import resolve_policy
from bot.config.settings import Settings
from bot.context.budgets import ContextBudgets
from bot.domain import evaluation_texts as texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import SettingsError
from bot.domain.evaluation import Answer, Case
from bot.domain.privacy import AuditEntry
from bot.domain.prompts import Prompt, check_prompt, read_prompt
from bot.evaluation.case_lines import read_lines, to_lines
from bot.evaluation.replay import Replay, ReplayOptions
from bot.evaluation.report import Render, build_report
from bot.evaluation.results import ResultFile, answer_json, case_id, run_id
from bot.evaluation.summary import Pair, side_of, votes
from bot.llm.model_server import ModelOptions
from bot.llm.prices import ModelPrices
from bot.llm.registry import ModelRegistry
from bot.ports.audit import OPERATOR, REPLIES_EXPORTED
from bot.store.audit import append
from bot.store.feedback_export import Selection, read_cases
from bot.store.open_store import open_to_append, open_to_read

_SPAN = re.compile(r"(\d{1,5})([dh])")
_SECONDS = {"d": 86_400, "h": 3_600}


# ── exporting ─────────────────────────────────────────────────────────────────────────────────
def export_feedback(settings: Settings, options: Namespace, out: TextIO) -> None:
    """Write the votes as JSON lines to `out`, or to the file given in the options."""
    since = parse_since("--since", options.since) if options.since else 0.0
    selection = Selection(since, names=options.names)
    cases = _read_database(settings, selection)
    if options.out is None:
        _write_lines(cases, out)
        return
    with _private_file(options.out) as file:
        _write_lines(cases, file)


def _read_database(settings: Settings, selection: Selection) -> Iterable[Case]:
    """The replies in the database. Reading them is audited first."""
    place = ConversationKey("", "", "", "")
    details = {"since": selection.since, "rated": selection.rated, "names": selection.names}
    with open_to_append(settings) as db:
        append(db, time.time(), AuditEntry(REPLIES_EXPORTED, place, OPERATOR, details=details))
    return _read_cases(settings, selection)


def _read_cases(settings: Settings, selection: Selection) -> Iterator[Case]:
    with open_to_read(settings) as db:
        yield from read_cases(db, selection)


def _write_lines(cases: Iterable[Case], out: TextIO) -> None:
    for case in cases:
        for line in to_lines(case):
            out.write(line + "\n")


def _private_file(path: Path) -> TextIO:
    """Open a file that only this user can read, even if it exists: it contains people's words."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def parse_since(option: str, text: str) -> float:
    """Parse `7d`, `24h` or a date to Unix seconds. Raises SettingsError."""
    if found := _SPAN.fullmatch(text):
        return time.time() - int(found[1]) * _SECONDS[found[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(option, texts.BAD_TIME) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# ── comparing ─────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Terminal:
    """Where the command prints; `ask` returns what the operator typed."""

    say: Callable[[str], object]
    ask: Callable[[str], str]


def evaluate(settings: Settings, options: Namespace, terminal: Terminal, render: Render) -> int:
    """Replay conversations and write the report; `render` turns Markdown into safe HTML.

    Returns the exit code. Raises SettingsError for an unknown model, or a file or prompt that
    cannot be read.
    """
    cases = _read(settings, options)
    if not cases:
        terminal.say(texts.NO_CASES)
        return 1
    return asyncio.run(_Evaluation(settings, options, terminal, cases, render).run())


def _read(settings: Settings, options: Namespace) -> list[Case]:
    if (options.file is None) == (options.last is None):
        raise SettingsError("FILE", texts.NEEDS_SOURCE)
    if options.file is not None:
        if options.file.resolve() in _outputs(options.out):
            raise SettingsError("--out", texts.OVERWRITES_SOURCE)
        try:
            with options.file.open(encoding="utf-8") as file:
                cases = read_lines(file, str(options.file))
        except FileNotFoundError as error:
            raise SettingsError(str(options.file), "there is no such file") from error
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(str(options.file), f"it cannot be read: {error}") from error
    else:
        since = parse_since("--last", options.last)
        cases = list(_read_database(settings, Selection(since, rated=False)))
    return cases[-options.limit :] if options.limit else cases


def _outputs(out: Path) -> list[Path]:
    """The paths of the report, its figures, and the answers."""
    return [path.resolve() for path in (out, out.with_suffix(".json"), out.with_suffix(".jsonl"))]


class _Evaluation:
    """One run of the command."""

    def __init__(
        self,
        settings: Settings,
        options: Namespace,
        terminal: Terminal,
        cases: Sequence[Case],
        render: Render,
    ) -> None:
        self._render = render
        self._settings, self._options, self._terminal = settings, options, terminal
        self._cases, self._clock = cases, SystemClock()
        self._out: Path = options.out
        policy = resolve_policy(settings)
        self._currency = policy.currency
        chosen = _read_prompt(options.prompt)
        prompt = settings.prompt if chosen is None else chosen
        self._options_of_requests = ReplayOptions(
            prompt=read_prompt(prompt),
            prompts={} if chosen is not None else _profile_prompts(settings),
            zone=settings.zone,
            max_tokens=settings.max_output_tokens,
            temperature=settings.temperature,
            redact=tuple(sorted(policy.redactions)),
        )
        run = run_id(options.model, self._options_of_requests)
        self._file = ResultFile(self._out.with_suffix(".jsonl"), run)
        self._answers: dict[str, Answer] = {}

    async def run(self) -> int:
        """Estimate the cost, ask for confirmation, replay what is missing, and write the report."""
        self._answers.update(self._file.read())
        missing = [case for case in self._cases if case_id(case) not in self._answers]
        if len(missing) < len(self._cases):
            self._terminal.say(texts.kept(len(self._cases) - len(missing)))
        if missing and not await self._replay(missing):
            self._terminal.say(texts.NOT_CONFIRMED)
            return 1
        failed = self._write()
        self._terminal.say(texts.written(str(self._out), failed))
        return 1 if failed == len(self._cases) else 0

    async def _replay(self, missing: Sequence[Case]) -> bool:
        """Replay the missing cases; return False if the operator does not confirm the estimate."""
        settings, options = self._settings, self._options
        model_options = ModelOptions(
            self._clock, settings.first_token_seconds, settings.between_tokens_seconds
        )
        async with aclosing(ModelRegistry(resolve(settings), model_options)) as registry:
            replay = Replay(
                model=registry.chain((options.model,)),
                prices=ModelPrices(registry, now=self._clock.time),
                budgets=ContextBudgets(
                    context_tokens=settings.context_tokens,
                    max_output_tokens=settings.max_output_tokens,
                ),
                clock=self._clock,
                options=self._options_of_requests,
            )
            if not await self._confirm(replay, missing):
                return False
            self._file.prepare()
            await replay.run(missing, at_once=options.concurrency, done=self._keep)
        return True

    async def _confirm(self, replay: Replay, missing: Sequence[Case]) -> bool:
        found = await replay.estimate(missing)
        tokens = (found.input_tokens, found.output_tokens)
        model, currency = self._options.model, self._currency
        self._terminal.say(texts.estimate(found.requests, model, tokens, found.cost, currency))
        if self._options.yes:
            return True
        answer = await asyncio.to_thread(self._terminal.ask, texts.ASK)
        return answer.strip().lower() in ("y", "yes")

    async def _keep(self, case: Case, answer: Answer) -> None:
        await asyncio.to_thread(self._file.add, case, answer)
        self._answers[case_id(case)] = answer
        self._terminal.say(texts.progress(len(self._answers), len(self._cases)))

    def _write(self) -> int:
        """Write the report and its figures; return the number of failed answers."""
        pairs: list[Pair] = [(case, self._answers[case_id(case)]) for case in self._cases]
        prompt = str(self._options.prompt or texts.OWN_PROMPTS)
        report = build_report(
            pairs,
            model=self._options.model,
            prompt=prompt,
            render=self._render,
            currency=self._currency,
        )
        _replace(self._out, report)
        _replace(self._out.with_suffix(".json"), json.dumps(_figures(pairs), indent=1) + "\n")
        return sum(bool(answer.error) for _, answer in pairs)


def _figures(pairs: Sequence[Pair]) -> dict[str, object]:
    cases = [case for case, _ in pairs]
    return {
        "then": side_of([case.reply for case in cases]).json(),
        "now": side_of([answer for _, answer in pairs]).json(),
        "votes": {vote.value: count for vote, count in votes(cases).items()},
        "cases": [
            {
                "turn": case.turn,
                "conversation": case.conversation,
                "then": answer_json(case.reply),
                "now": answer_json(answer),
                "votes": [rating.vote.value for rating in case.ratings],
            }
            for case, answer in pairs
        ],
    }


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically, so that no one ever reads half of it."""
    half = path.with_name(f".{path.name}.new")
    with _private_file(half) as file:
        file.write(text)
    half.replace(path)


def _profile_prompts(settings: Settings) -> dict[str, Prompt]:
    """The current prompts of the rules' profiles."""
    profiles = resolve_policy(settings).profiles.items()
    return {name: read_prompt(p.prompt) for name, p in profiles if p.prompt is not None}


def _read_prompt(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("--prompt", f"{path} cannot be read: {error}") from error
    if problem := check_prompt(text):
        raise SettingsError("--prompt", f"{path}: {problem}")
    return text


def on_terminal(say: Callable[[str], object]) -> Terminal:
    """The operator's terminal; if there is none, the answer to every question is no."""
    return Terminal(say, lambda question: input(question) if sys.stdin.isatty() else "")
