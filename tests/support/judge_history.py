"""Judges what the model was sent: each request is one conversation, whole and in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.support.transcript import Asked, Evidence, Verdict, order, words_of

_MARK = re.compile(r"q\d{5}(?!w)")


def history(evidence: Evidence, body: Mapping[str, Any], verdict: Verdict) -> None:
    """Of one conversation and section, whole and in order: all questions up to the last, each
    answer behind the questions that it answers."""
    messages = list(_said(body["messages"]))
    role, prompt = messages[0] if messages else ("", "")
    if role != "system" or not prompt.startswith(evidence.system_prompt):  # the date follows
        verdict.add("history", f"begins with {messages[:1]}")
    found = list(_entries(messages))
    names = [name for role, name in found if role == "user"]
    asked = {each.name: each for each in evidence.asked}
    if not names or found[-1][0] != "user" or any(name not in asked for name in names):
        verdict.add("history", f"is not from questions to a question: {found}")
        return
    last = asked[names[-1]]
    expected = _expected(evidence, last)
    if not (_agree(evidence, names, expected) if evidence.troubled else names == expected):
        verdict.add("history", f"{last.name} was asked with {names} instead of {expected}")
    _answers(evidence, messages, asked, verdict)
    _edits(messages, [asked[name] for name in names[:-1]], verdict)


def _said(messages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each message by itself: what people say in a row reaches the model as one."""
    for message in messages:
        text = str(message["content"])
        parts = text.split("\n\n") if message["role"] == "user" else [text]
        yield from ((message["role"], part) for part in parts)


def _entries(messages: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for role, text in messages:
        if role == "user":
            found = _MARK.findall(text)
            yield role, found[0] if len(found) == 1 else text
        elif role == "assistant":
            words = words_of(text)
            yield role, words[0][0] if words else text


def _expected(evidence: Evidence, last: Asked) -> list[str]:
    """The questions that the model is to know when it answers `last`."""
    mine = [q for q in evidence.asked if (q.where, q.section) == (last.where, last.section)]
    return [q.name for q in mine if order(q.id) <= order(last.id) and (q is last or not q.gone)]


def _agree(evidence: Evidence, names: Sequence[str], expected: Sequence[str]) -> bool:
    """Nothing twice, and nothing else but for what was asked beside another, or may be deleted."""
    paired = {each.name for each in evidence.asked if each.beside or each.perhaps}
    return len(set(names)) == len(names) and set(names) ^ set(expected) <= paired


def _answers(
    evidence: Evidence,
    messages: Sequence[tuple[str, str]],
    asked: Mapping[str, Asked],
    verdict: Verdict,
) -> None:
    """Each answer stands whole and once, directly behind its question."""
    for (role, before), (answers, text) in pairwise(messages):
        if answers != "assistant":
            if role == answers == "user" and not (evidence.troubled or _stopped(before, asked)):
                verdict.add("history", f"no answer between {before!r} and {text!r}")
            continue
        names = _MARK.findall(before)
        words = words_of(text)
        whole = asked[names[0]].spoken if len(names) == 1 and names[0] in asked else None
        right = words == whole
        if whole is not None and (evidence.troubled or asked[names[0]].ends != "answered"):
            right = words == whole[: len(words)]
        if role != "user" or not right:
            verdict.add("history", f"behind {before!r} stands {text[:60]!r}")


def _stopped(text: str, asked: Mapping[str, Asked]) -> bool:
    """Whether a question was stopped: a word said to a dead process ends it without an answer."""
    names = _MARK.findall(text)
    return any(name in asked and asked[name].ends == "stopped" for name in names)


def _edits(
    messages: Sequence[tuple[str, str]], questions: Sequence[Asked], verdict: Verdict
) -> None:
    """What was edited before the last question stands there as it was edited."""
    said = [text for role, text in messages if role == "user"]
    for asked in questions:
        if asked.edited and not any(asked.name in text and asked.edited in text for text in said):
            verdict.add("history", f"{asked.name} is not as it was edited")
