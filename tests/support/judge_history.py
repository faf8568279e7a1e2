"""Judges the model's requests: each is one conversation, complete and in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.support.transcript import Question, Transcript, Verdict, order, words_of

_MARK = re.compile(r"q\d{5}(?!w)")


def history(transcript: Transcript, body: Mapping[str, Any], verdict: Verdict) -> None:
    """Check one conversation and section: every question up to the last, in order, and each answer
    after its questions."""
    messages = list(_said(body["messages"]))
    role, prompt = messages[0] if messages else ("", "")
    if role != "system" or not prompt.startswith(transcript.system_prompt):  # the date follows
        verdict.add("history", f"begins with {messages[:1]}")
    found = list(_entries(messages))
    names = [name for role, name in found if role == "user"]
    questions = {each.name: each for each in transcript.questions}
    if not names or found[-1][0] != "user" or any(name not in questions for name in names):
        verdict.add("history", f"is not from questions to a question: {found}")
        return
    last = questions[names[-1]]
    expected = _expected(transcript, last)
    if not (_agree(transcript, names, expected) if transcript.faulty else names == expected):
        verdict.add("history", f"{last.name} was asked with {names} instead of {expected}")
    _answers(transcript, messages, questions, verdict)
    _edits(messages, [questions[name] for name in names[:-1]], verdict)


def _said(messages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each message separately, since consecutive messages of people reach the model as one."""
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


def _expected(transcript: Transcript, last: Question) -> list[str]:
    """The questions that the model must get when it answers `last`."""
    mine = [q for q in transcript.questions if (q.where, q.section) == (last.where, last.section)]
    return [q.name for q in mine if order(q.id) <= order(last.id) and (q is last or not q.gone)]


def _agree(transcript: Transcript, names: Sequence[str], expected: Sequence[str]) -> bool:
    """Allow no repetition, and no difference except concurrent questions and possibly deleted
    ones."""
    paired = {each.name for each in transcript.questions if each.beside or each.perhaps}
    return len(set(names)) == len(names) and set(names) ^ set(expected) <= paired


def _answers(
    transcript: Transcript,
    messages: Sequence[tuple[str, str]],
    questions: Mapping[str, Question],
    verdict: Verdict,
) -> None:
    """Each answer is complete and directly follows its question."""
    for (role, before), (answers, text) in pairwise(messages):
        if answers != "assistant":
            if role == answers == "user" and not (transcript.faulty or _stopped(before, questions)):
                verdict.add("history", f"no answer between {before!r} and {text!r}")
            continue
        names = _MARK.findall(before)
        words = words_of(text)
        whole = (
            questions[names[0]].expected_words
            if len(names) == 1 and names[0] in questions
            else None
        )
        right = words == whole
        if whole is not None and (transcript.faulty or questions[names[0]].ends != "answered"):
            right = words == whole[: len(words)]
        if role != "user" or not right:
            verdict.add("history", f"behind {before!r} stands {text[:60]!r}")


def _stopped(text: str, questions: Mapping[str, Question]) -> bool:
    """Whether a question was stopped: a stop during an outage can end it without an answer."""
    names = _MARK.findall(text)
    return any(name in questions and questions[name].ends == "stopped" for name in names)


def _edits(
    messages: Sequence[tuple[str, str]], questions: Sequence[Question], verdict: Verdict
) -> None:
    """Each edit made before the last question is included."""
    said = [text for role, text in messages if role == "user"]
    for question in questions:
        if question.edited and not any(
            question.name in text and question.edited in text for text in said
        ):
            verdict.add("history", f"{question.name} is not as it was edited")
