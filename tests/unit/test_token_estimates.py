"""Estimates for requests come close to real tokenizers, whose tables are made here.

The tokenizers are trained on one half of the texts and count the other half, in the ChatML chat
template: English and code from Python's standard library, and Chinese sentences.
"""

from __future__ import annotations

import argparse
import email.message
import inspect
import json.decoder
import logging
import random
import tarfile
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from pydoc_data.topics import topics  # type: ignore[import-not-found]

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from bot.context.estimates import (
    FEW,
    ModelEstimate,
    RequestEstimate,
    features,
    ratio_of,
    request_tokens,
)
from bot.domain.context import TokenCount
from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.tokens import message_tokens

ROOT = Path(__file__).parents[2]
MODULES = (argparse, email.message, json.decoder, logging, tarfile)
TURNS, KNOWN_FROM = 40, 10
WINDOW = 16_000  # UNKNOWN_WINDOW_TOKENS: the smallest budget that a model gets without settings
LIMIT = 0.05
KINDS = ("english", "chinese", "code", "mixed")


# ── the texts and the tokenizers ──────────────────────────────────────────────────────────────
@cache
def paragraphs(kind: str) -> tuple[Sequence[str], Sequence[str]]:
    """Texts to train on, and other texts to count."""
    if kind == "chinese":
        found = (ROOT / "tests/fixtures/texts/chinese.txt").read_text("utf-8").split()
    else:
        texts = topics.values() if kind == "english" else map(inspect.getsource, MODULES)
        parts = chain.from_iterable(text.split("\n\n") for text in texts)
        found = [part for part in parts if 80 < len(part) < 1_000]
    random.Random(2).shuffle(found)
    return found[: len(found) // 2], found[len(found) // 2 :]


@cache
def tokenizer(name: str) -> Tokenizer:
    english, code, chinese = (paragraphs(kind)[0] for kind in ("english", "code", "chinese"))
    if name == "bytes, without Chinese":
        return _bytes(8_000, [*english, *code])
    if name == "bytes, 3,000 tokens":
        return _bytes(3_000, [*english, *code, *chinese * 3])
    if name == "bytes, 12,000 tokens":
        return _bytes(12_000, [*english, *code, *chinese * 10])
    return _pieces(6_000, [*english, *code, *chinese * 5])


NAMES = ("bytes, without Chinese", "bytes, 3,000 tokens", "bytes, 12,000 tokens", "pieces")
MARKS = ["<|im_start|>", "<|im_end|>"]


def _bytes(size: int, corpus: Sequence[str]) -> Tokenizer:
    """Like GPT's: merges of bytes."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=MARKS, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(corpus, trainer)
    return made


def _pieces(size: int, corpus: Sequence[str]) -> Tokenizer:
    """Like Llama's: merges of characters, and bytes for characters that are not in the table."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", *MARKS, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    made.train_from_iterator(corpus, trainer)
    return made


class Counter:
    """Counts the tokens of requests as a server does, each message once."""

    def __init__(self, name: str) -> None:
        self._tokenizer = tokenizer(name)
        self._known: dict[tuple[str, str], int] = {}

    def __call__(self, messages: Sequence[Message]) -> int:
        return 3 + sum(map(self._count, messages))  # 3: the beginning of the answer

    def _count(self, message: Message) -> int:
        key = message.role.value, message.content
        if key not in self._known:
            text = f"<|im_start|>{message.role.value}\n{message.content}<|im_end|>\n"
            self._known[key] = len(self._tokenizer.encode(text).ids)
        return self._known[key]


# ── conversations ─────────────────────────────────────────────────────────────────────────────
def text(kinds: Sequence[str], size: int, chosen: random.Random) -> str:
    """At least `size` characters of these kinds."""
    said = ""
    while len(said) < size:
        said += chosen.choice(paragraphs(chosen.choice(kinds))[1]) + "\n\n"
    return said.strip()


def requests(kinds: Sequence[Sequence[str]], seed: int) -> Iterator[list[Message]]:
    """The requests of a conversation whose window is cut to 70 % whenever it is full."""
    chosen = random.Random(seed)
    messages = [Message(Role.SYSTEM, "You are a helpful assistant.")]
    for kind in kinds:
        messages.append(Message(Role.USER, text(kind, chosen.randint(20, 300), chosen)))
        if sum(map(message_tokens, messages)) > WINDOW:
            while sum(map(message_tokens, messages)) > 0.7 * WINDOW:
                del messages[1:3]
        yield list(messages)
        messages.append(Message(Role.ASSISTANT, text(kind, chosen.randint(100, 1_500), chosen)))


def errors(
    model: ModelEstimate, count: Counter, kinds: Sequence[Sequence[str]], seed: int
) -> list[float]:
    """The relative error of each turn's estimate, which is corrected by the previous turns."""
    found, last = [], None
    for request in requests(kinds, seed):
        expected, counted = RequestEstimate(model, last).messages(request), count(request)
        found.append(abs(expected - counted) / counted)
        model.learn(features(request), counted)
        last = TokenCount(counted, sum(map(message_tokens, request)))
    return found


def plain(kind: str) -> list[list[str]]:
    return [["english", "chinese", "code"] if kind == "mixed" else [kind]] * TURNS


# ── what is within 5 % ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", NAMES)
def test_estimates_are_within_five_percent_after_ten_turns(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    worst = {}
    for kind in KINDS:
        count = Counter(name)
        each = [errors(ModelEstimate(), count, plain(kind), seed)[KNOWN_FROM:] for seed in range(3)]
        worst[kind] = max(chain.from_iterable(each))
    with capsys.disabled():
        print(f"\n{name}: " + ", ".join(f"{kind} {error:.1%}" for kind, error in worst.items()))
    assert max(worst.values()) <= LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_language_costs_two_turns(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that is new to the model is first estimated with the defaults."""
    kinds = [["english"]] * (TURNS // 2) + [["chinese"]] * (TURNS // 2)
    found = errors(ModelEstimate(), Counter(name), kinds, 0)
    change = TURNS // 2
    at_first, later = max(found[change : change + 2]), max(found[change + 2 :])
    with capsys.disabled():
        print(f"\n{name}: {at_first:.1%} in the first two turns, then {later:.1%}")
    assert max(found[KNOWN_FROM:change]) <= LIMIT
    assert at_first <= 0.2
    assert later <= LIMIT


def test_a_language_that_other_conversations_had_costs_nothing() -> None:
    model, count = ModelEstimate(), Counter(NAMES[0])
    errors(model, count, plain("chinese"), 1)
    kinds = [["english"]] * (TURNS // 2) + [["chinese"]] * (TURNS // 2)
    assert max(errors(model, count, kinds, 2)[KNOWN_FROM:]) <= LIMIT


# ── counts of something else ──────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", NAMES)
def test_the_counts_of_whole_requests_are_believed(name: str) -> None:
    count = Counter(name)
    for kind in KINDS:
        for request in list(requests(plain(kind), 1))[::8]:
            tokens = request_tokens(request)
            assert tokens is not None and tokens.measured_by(count(request)), kind


def test_a_counts_lower_limit_depends_on_the_script() -> None:
    """The bounds are wide, so that they include a tokenizer that was trained on such texts."""
    shares = {
        "the deploy failed again, because the queue was full. ": (0.2, 0.11),
        "部署又失败了，因为队列已满，而且工作进程没有重新启动。": (0.6, 0.3),
        "развертывание снова не удалось, потому что очередь заполнена ": (0.25, 0.1),
    }
    for text, (whole, cut) in shares.items():
        tokens = request_tokens([Message(Role.USER, 50 * text)])
        assert tokens is not None
        characters = 50 * len(text)
        assert tokens.measured_by(int(whole * characters)), text
        assert not tokens.measured_by(int(cut * characters)), text
    image = ImagePart("image/png", b"", 10, 10)
    assert request_tokens([Message(Role.USER, "see", parts=(image,))]) is None


# ── beginnings ────────────────────────────────────────────────────────────────────────────────
def test_without_counts_the_estimate_is_the_usual_one() -> None:
    message = Message(Role.USER, "words and " * 30 + "漢字" + "😀" + "éö")
    assert RequestEstimate(ModelEstimate()).message(message) == pytest.approx(
        message_tokens(message), abs=1
    )


def test_a_new_process_begins_with_the_stored_ratio() -> None:
    message = Message(Role.USER, "words and " * 30)
    counts = [TokenCount(70, 100), TokenCount(80, 100), TokenCount(900, 100)]
    assert ratio_of(counts) == 0.8
    assert ratio_of([TokenCount(900, 100)]) == 3.0
    assert ratio_of([TokenCount(1, 0)]) == 1.0
    expected = RequestEstimate(ModelEstimate(0.8)).message(message)
    assert expected == pytest.approx(0.8 * message_tokens(message), abs=1)


def test_a_conversations_last_count_is_the_least_until_the_model_is_known() -> None:
    """After a restart, a conversation in an expensive script does not exceed the window."""
    model, message = ModelEstimate(0.7), Message(Role.USER, "漢字" * 100)
    last = TokenCount(250, 100)
    usual = message_tokens(message)
    assert RequestEstimate(model, last).message(message) == pytest.approx(2.5 * usual, rel=0.01)
    for _ in range(FEW):
        model.learn(features([message]), int(1.1 * usual))
    assert RequestEstimate(model, last).message(message) == pytest.approx(1.1 * usual, rel=0.02)


def test_classes_of_characters_are_counted_by_their_bytes() -> None:
    found = features([Message(Role.USER, "ab c1.\n"), Message(Role.USER, "é漢字😀")])
    assert found == (4, 0, 3, 1, 2, 1, 2)
    assert features([Message(Role.USER, "    a|--|==")]) == (1, 8, 2, 0, 0, 0, 1)
    assert features([Message(Role.USER, "\ud800")]) == (0, 0, 1, 0, 0, 0, 1)


@given(
    st.lists(st.tuples(st.text(max_size=300), st.integers(1, 400)), min_size=1, max_size=30),
    st.text(max_size=300),
)
def test_no_counts_make_an_estimate_negative_or_senseless(
    counted: list[tuple[str, int]], text: str
) -> None:
    """A server may report any count; an estimate stays between a hundredth and a hundred times the
    default."""
    model = ModelEstimate()
    for said, tokens in counted:
        request = [Message(Role.USER, said)]
        usual = message_tokens(request[0])
        model.learn(features(request), min(max(tokens, usual // 3), 3 * usual))
    message = Message(Role.USER, text)
    expected = RequestEstimate(model).message(message)
    assert message_tokens(message) / 100 <= expected <= 100 * message_tokens(message)
