"""The model gets the newest messages within the budget, and always the question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from bot.context.roles import UNSAID, add_names
from bot.context.window import MIN_QUESTION_TOKENS, ContextWindow, shorten, today
from bot.domain.conversations import Author, Message, Role
from bot.domain.prompts import Prompt
from bot.domain.tokens import count_tokens, message_tokens
from tests.sims.model.validate import validate

ANN, BEN = Author("1", "Ann"), Author("2", "Ben")


def conversation(*texts: str) -> list[Message]:
    """Alternating messages of Ann and the assistant, oldest first."""
    return [
        Message(
            role=Role.USER if n % 2 == 0 else Role.ASSISTANT,
            content=text,
            author=ANN if n % 2 == 0 else None,
            index=n,
            id=n + 1,
        )
        for n, text in enumerate(texts)
    ]


def window_over(
    messages: Sequence[Message], *, budget: int, questions: set[int], system: str = "Be brief."
) -> ContextWindow:
    window = ContextWindow(budget=budget, prompt=Prompt(system), questions=frozenset(questions))
    window.add(reversed(messages))
    return window


def test_system_prompt_first_then_index_order_ending_with_the_question() -> None:
    messages = conversation("one", "two", "three")
    got = window_over(messages, budget=1_000, questions={3}).messages()
    assert [(m.role, m.content) for m in got] == [
        (Role.SYSTEM, "Be brief."),
        (Role.USER, "one"),
        (Role.ASSISTANT, "two"),
        (Role.USER, "three"),
    ]


def test_an_empty_system_prompt_sends_no_system_message() -> None:
    got = window_over(conversation("one"), budget=1_000, questions={1}, system="").messages()
    assert [m.content for m in got] == ["one"]


def test_the_oldest_messages_are_dropped() -> None:
    messages = conversation("a" * 300, "b" * 300, "c" * 300)
    budget = message_tokens(messages[1]) + message_tokens(messages[2])
    window = window_over(messages, budget=budget, questions={3}, system="")
    assert [m.content[0] for m in window.messages()] == [UNSAID, "b", "c"]
    assert window.full


def test_a_question_beyond_the_budget_keeps_its_beginning_and_its_end() -> None:
    """The model learns how much is missing, and people learn that something is."""
    messages = conversation("old", "older", "begin" + "q" * 9_000 + "end")
    window = window_over(messages, budget=256, questions={3})
    system, question = window.messages()
    assert question.content.startswith("beginq")
    assert question.content.endswith("qend")
    assert "characters are left out here" in question.content
    assert sum(map(message_tokens, (system, question))) <= 256
    assert window.shortened
    assert window.full


def test_of_many_questions_the_newest_that_fit_are_complete() -> None:
    """A note tells the model how many were left out."""
    messages = [
        Message(role=Role.USER, content=f"{n}" + "x" * 64_000, author=ANN, index=n, id=n + 1)
        for n in range(100)
    ]
    asked = set(range(1, 101))
    window = window_over(messages, budget=50_000, questions=asked)
    (_, said) = window.messages()
    assert said.content.startswith("[Earlier messages left out, as they are too long: 97]\n\n97x")
    assert "98x" in said.content
    assert "x\n\n99x" in said.content
    assert message_tokens(said) <= 50_100
    assert window.shortened
    short = window_over(messages[-2:], budget=50_000, questions={99, 100})
    assert not short.shortened


def test_the_newest_question_is_sent_even_if_the_system_prompt_fills_the_budget() -> None:
    messages = conversation("old", "older", "what? " * 200)
    window = window_over(messages, budget=300, questions={3}, system="s" * 3_000)
    assert window.messages()[1].content.startswith("what? ")
    assert message_tokens(window.messages()[1]) <= MIN_QUESTION_TOKENS


@given(st.text("aж😀\n", max_size=3_000), st.integers(30, 400))
def test_shortened_text_stays_within_its_tokens(text: str, tokens: int) -> None:
    assert count_tokens(shorten(text, tokens)) <= tokens


@given(
    st.lists(st.tuples(st.booleans(), st.text("aж\n", max_size=900)), min_size=1, max_size=20),
    st.integers(MIN_QUESTION_TOKENS, 1_500),
)
def test_questions_stay_within_the_budget_newest_first(
    said: list[tuple[bool, str]], budget: int
) -> None:
    """The budget holds for any mix of questions and history; the kept questions are the newest."""
    messages = [
        Message(role=Role.USER, content=text, author=ANN, index=n, id=n + 1)
        for n, (_, text) in enumerate(said)
    ]
    asked = [n + 1 for n, (question, _) in enumerate(said) if question]
    window = window_over(messages, budget=budget, questions=set(asked), system="")
    kept = [message.id for message in reversed(window._newest_first) if message.id in asked]
    assert sum(map(message_tokens, window._newest_first)) <= budget
    assert kept == asked[len(asked) - len(kept) :]
    whole = all(message in messages for message in window._newest_first)
    assert window.shortened == (kept != asked or not whole)


def test_questions_are_kept_even_if_history_between_them_is_dropped() -> None:
    messages = conversation("q" * 900, "x" * 1_800, "q" * 900)
    window = window_over(messages, budget=620, questions={1, 3}, system="")
    assert [m.content for m in window.messages()] == ["q" * 900 + "\n\n" + "q" * 900]


def test_peoples_messages_carry_names_but_the_assistants_do_not() -> None:
    messages = [
        Message(role=Role.USER, content="hi", author=ANN, index=0, id=1),
        Message(role=Role.ASSISTANT, content="hello", index=1, id=2),
        Message(role=Role.USER, content="and me?", author=BEN, index=2, id=3),
    ]
    got = window_over(add_names(messages), budget=999, questions={3}, system="").messages()
    assert [m.content for m in got] == ["Ann: hi", "hello", "Ben: and me?"]


def test_token_estimates_are_not_too_low() -> None:
    """A common tokenizer (cl100k) counts 10, 13 and 11 tokens in these sentences."""
    assert count_tokens("The quick brown fox jumps over the lazy dog.") >= 10
    assert count_tokens("Der schnelle braune Fuchs springt über den faulen Hund.") >= 13
    assert count_tokens("素早い茶色の狐がのろまな犬を") >= 11
    assert count_tokens("") == 0


@given(st.lists(st.text(max_size=200), max_size=30), st.integers(0, 2_000))
def test_kept_messages_fit_the_budget_and_have_no_gaps(texts: list[str], budget: int) -> None:
    """The kept messages are consecutive up to the newest, and only questions may exceed the
    budget."""
    messages = conversation(*texts)
    questions = {len(messages)} if messages else set()
    window = window_over(messages, budget=budget, questions=questions, system="")
    got = window.messages()
    assume(not window.shortened)
    kept = "".join(message.content for message in got if message.id).replace("\n\n", "")
    assert "".join(texts).replace("\n\n", "").endswith(kept)
    cost = sum(message_tokens(m) for m in got if m.id and m.id not in questions)
    assert cost <= budget


def assert_strict(messages: Sequence[Message]) -> None:
    said = [{"role": m.role.value, "content": m.content} for m in messages]
    validate({"model": "strict", "messages": said}, strict=True)


@given(
    st.lists(st.tuples(st.sampled_from(Role), st.text("ab \n", max_size=5)), max_size=12),
    st.integers(0, 60),
    st.sampled_from(["", "Be brief."]),
)
def test_the_strictest_template_accepts_any_history(
    said: list[tuple[Role, str]], budget: int, system: str
) -> None:
    """Roles alternate, the user is first and last, and no message is empty, even with consecutive
    questions, deleted questions, system messages in the middle, and mentions without text."""
    messages = [
        Message(role=role, content=text, author=ANN if n % 3 else BEN, index=n, id=n + 1)
        for n, (role, text) in enumerate(said)
    ]
    questions = {len(messages)} if messages else set()
    window = window_over(messages, budget=budget, questions=questions, system=system)
    assert_strict(window.messages())


def test_consecutive_messages_of_people_are_merged_with_their_names() -> None:
    messages = [
        Message(role=Role.USER, content="hi", author=ANN, index=0, id=1),
        Message(role=Role.USER, content="and me?", author=BEN, index=1, id=2),
        Message(role=Role.USER, content="and I?", author=ANN, index=2, id=3),
    ]
    got = window_over(add_names(messages), budget=999, questions={2, 3}, system="").messages()
    assert [m.content for m in got] == ["Ann: hi\n\nBen: and me?\n\nAnn: and I?"]


def test_an_answer_whose_question_was_deleted_follows_an_ellipsis() -> None:
    messages = conversation("q", "hello", "more")[1:]
    got = window_over(messages, budget=999, questions={3}).messages()
    assert [m.content for m in got] == ["Be brief.", UNSAID, "hello", "more"]


def test_a_mention_without_text_after_an_answer_is_an_ellipsis() -> None:
    got = window_over(conversation("q", "hello", ""), budget=999, questions={3}).messages()
    assert [m.content for m in got] == ["Be brief.", "q", "hello", UNSAID]


def test_later_system_messages_join_the_first() -> None:
    messages = [*conversation("q", "hello"), Message(Role.SYSTEM, "In verse.", index=2, id=3)]
    messages += [Message(Role.USER, "more", index=3, id=4)]
    got = window_over(messages, budget=999, questions={4}).messages()
    assert [(m.role.value, m.content) for m in got] == [
        ("system", "Be brief.\n\nIn verse."),
        ("user", "q"),
        ("assistant", "hello"),
        ("user", "more"),
    ]


# ── the date ──────────────────────────────────────────────────────────────────────────────────
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def test_the_date_is_in_the_configured_time_zone() -> None:
    late = datetime(2026, 2, 28, 23, 30, tzinfo=UTC).timestamp()
    assert today(late, ZoneInfo("UTC")) == "Today is Saturday, February 28, 2026 (UTC)."
    assert today(late, ZoneInfo("Europe/Berlin")).endswith("Sunday, March 1, 2026 (Europe/Berlin).")
    assert today(NOON, None).startswith("Today is ")


def test_the_date_is_the_same_text_all_day() -> None:
    """A provider's prompt cache depends on it."""
    zone = ZoneInfo("UTC")
    assert today(NOON, zone) == today(NOON + 3_600, zone)


def system_of(prompt: str, *messages: Message) -> str:
    window = ContextWindow(
        budget=1_000, prompt=Prompt(prompt), questions=frozenset(), today="Today is Sunday."
    )
    window.add(messages)
    first = window.messages()[0]
    return first.content if first.role is Role.SYSTEM else ""


def test_the_date_ends_the_system_message() -> None:
    """This holds after a program's system messages too; without a system prompt there is no
    date."""
    more = Message(Role.SYSTEM, "Answer in French.")
    assert system_of("Be kind.", more) == "Be kind.\n\nAnswer in French.\n\nToday is Sunday."
    assert system_of("Be kind.") == "Be kind.\n\nToday is Sunday."
    assert system_of("") == ""
