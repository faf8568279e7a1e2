"""Past replies as JSON lines: `export feedback` writes them, and `eval` reads them.

Each line is one vote with the whole reply, so that it can be used alone. Reading joins the lines of
a reply again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bot.domain.conversations import Role
from bot.domain.errors import SettingsError
from bot.domain.evaluation import Answer, Case, Rating, Speech
from bot.domain.feedback import Vote
from bot.domain.model import Usage
from bot.domain.money import NANO

Json = dict[str, Any]


def to_lines(case: Case) -> Iterator[str]:
    """One JSON object per vote; without votes, a single one that has none."""
    for rating in case.ratings or (None,):
        yield json.dumps(_vote(rating) | _case(case), ensure_ascii=False)


def _vote(rating: Rating | None) -> Json:
    if rating is None:
        return {"vote": None, "comment": "", "voted_at": None}
    shown = {"vote": rating.vote.value, "comment": rating.comment, "voted_at": _time(rating.at)}
    return shown | ({"person": rating.person, "name": rating.name} if rating.person else {})


def _case(case: Case) -> Json:
    reply, count = case.reply, len(case.messages) - case.questions
    usage = reply.usage
    return {
        "turn": case.turn,
        "conversation": case.conversation,
        "epoch": case.epoch,
        "at": _time(case.at),
        "place": list(case.place),
        "shared": case.shared,
        "history": [_message(each) for each in case.messages[:count]],
        "questions": [_message(each) for each in case.messages[count:]],
        "attachments": case.attachments,
        "reply": reply.text,
        "model": reply.model,
        "profile": case.profile,
        "prompt": case.prompt,
        "tokens": None if usage is None else usage_json(usage),
        "dollars": dollars(reply.cost),
        "seconds": {"first_token": reply.first_token_seconds, "total": reply.seconds},
    }


def _message(message: Speech) -> Json:
    return {"role": message.role.value, "author": message.author, "content": message.content}


def usage_json(usage: Usage) -> Json:
    """The tokens by kind."""
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached": usage.cached_tokens,
        "reasoning": usage.reasoning_tokens,
    }


def dollars(cost: int | None) -> float | None:
    """Convert billionths of a dollar to dollars."""
    return None if cost is None else cost / NANO


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


# ── reading ───────────────────────────────────────────────────────────────────────────────────
def read_lines(lines: Iterable[str], source: str) -> list[Case]:
    """The replies in the lines, each once with all of its votes. Raises SettingsError."""
    found: dict[tuple[str, int], Case] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = _read(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problem = f"line {number} is not one of `threadline export feedback`: {error!r}"
            raise SettingsError(source, problem) from error
        known = found.setdefault((case.conversation, case.turn), case)
        if known is not case:
            joined = replace(known, ratings=(*known.ratings, *case.ratings))
            found[case.conversation, case.turn] = joined
    return list(found.values())


def _read(line: Json) -> Case:
    questions = [_speech(each) for each in line["questions"]]
    if not questions:
        raise ValueError("it has no questions")
    return Case(
        turn=int(line["turn"]),
        conversation=str(line["conversation"]),
        epoch=int(line.get("epoch", 1)),
        at=datetime.fromisoformat(line["at"]).timestamp(),
        messages=(*(_speech(each) for each in line.get("history", ())), *questions),
        questions=len(questions),
        reply=_answer(line),
        shared=bool(line.get("shared")),
        profile=str(line.get("profile") or ""),
        prompt=str(line.get("prompt") or ""),
        attachments=int(line.get("attachments") or 0),
        place=tuple(map(str, line.get("place", ()))),
        ratings=tuple(_rating(line)),
    )


def _rating(line: Json) -> Iterator[Rating]:
    if line.get("vote"):
        yield Rating(Vote(line["vote"]), str(line.get("comment") or ""))


def _speech(message: Json) -> Speech:
    return Speech(Role(message["role"]), str(message["content"]), str(message.get("author") or ""))


def _answer(line: Json) -> Answer:
    tokens, cost = line.get("tokens"), line.get("dollars")
    seconds = line.get("seconds") or {}
    return Answer(
        text=str(line["reply"]),
        model=str(line.get("model") or ""),
        usage=None if tokens is None else read_usage(tokens),
        cost=None if cost is None else round(float(cost) * NANO),
        first_token_seconds=_number(seconds.get("first_token")),
        seconds=_number(seconds.get("total")),
    )


def read_usage(tokens: Json) -> Usage:
    """Parse the output of `usage_json`."""
    return Usage(
        int(tokens["input"]),
        int(tokens["output"]),
        cached_tokens=int(tokens.get("cached") or 0),
        reasoning_tokens=int(tokens.get("reasoning") or 0),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
