"""The search compared with a naive one over the same rows, on both kinds of database."""

from __future__ import annotations

import asyncio
import random
import unicodedata
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import Author, ConversationKey, Role
from bot.domain.privacy import Person
from bot.domain.records import RecordScope
from bot.domain.search import SearchHit, SearchPage, parse_query
from bot.store import search, search_indexer
from bot.store.backup import backup, restore
from bot.store.search_index import OutOfTime
from bot.store.store import SqlStore
from tests.support import store_kit
from tests.support.clock import ManualClock
from tests.support.store_kit import (
    ANSWER,
    Place,
    PostgresPlace,
    answer_next,
    change,
    connected,
    look,
    said,
)

ANN, BOB = RecordScope("web", "ann", "general"), RecordScope("web", "bob", "general")
WORDS = tuple(
    """deploy deployment the server stream streams Straße strasse café CAFE naïve resume résumé go
    GPT-5 max_open_files 東京 東京都 京都 天気 日本語 日本 한국어 서울 ガンダム カンタム กรุงเทพ
    x y 50 5 cluster kubernetes don't re-run \u0130stanbul ﬁle 🙂 <b>bold</b> 100%""".split()  # noqa: SIM905
)


@asynccontextmanager
async def open_unhurried(place: Place, **options: Any) -> AsyncIterator[SqlStore]:
    """A store whose searches have enough time, even on a busy machine."""
    async with store_kit.opened(place, **options) as store:
        store.search().seconds = 60.0
        yield store


def where(thread: str, user: str = "ann", channel: str = "general") -> ConversationKey:
    return ConversationKey("web", user, channel, thread)


async def ask(
    store: SqlStore,
    number: int,
    text: str,
    key: ConversationKey,
    answer: str = "",
    model: str = "echo",
    attachments: Sequence[IncomingAttachment] = (),
) -> int:
    author = Author(key.workspace, key.workspace)
    accepted = await store.accept(
        said(number, text, where=key, author=author, attachments=attachments)
    )
    assert accepted.conversation is not None
    if answer:
        result = replace(ANSWER, content=answer, display=answer, model=model)
        await answer_next(store, accepted.conversation, result)
    return accepted.conversation


async def find(
    store: SqlStore, text: str, scope: RecordScope = ANN, limit: int = 50
) -> list[SearchHit]:
    page = await store.search().search([scope], parse_query(text), limit=limit)
    assert not page.is_partial
    return list(page.hits)


async def texts(store: SqlStore, text: str, scope: RecordScope = ANN) -> list[str]:
    """The snippets of the messages found."""
    return [hit.snippet.text for hit in await find(store, text, scope) if hit.message]


# ── a search that reads everything ────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Text:
    id: int
    text: str
    owner: tuple[str, str]
    model: str = ""


def letters(text: str) -> str:
    """The text without case, and without marks on letters of alphabets; other scripts keep
    theirs."""
    folded = []
    for char in unicodedata.normalize("NFC", text):
        parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
        kept = "".join(part for part in parts if not "\u0300" <= part <= "\u036f")
        folded.append(unicodedata.normalize("NFC", kept))
    return "".join(folded)


def is_dense(char: str) -> bool:
    name = unicodedata.name(char, "")
    return name.startswith(("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI"))


def units(text: str) -> Iterator[str]:
    """Words, characters of scripts without spaces, and " " for everything in between."""
    word = ""
    for char in letters(text):
        is_letter = char.isalnum() or (is_dense(char) and not char.isspace())
        if is_letter and not is_dense(char):
            word += char
            continue
        if word:
            yield word
        word = ""
        yield char if is_letter else " "
    if word:
        yield word


def has(text: str, wanted: str, *, whole: bool) -> bool:
    """Whether `text` contains `wanted`; unless `whole`, its last word may be a prefix."""
    needle = list(units(wanted))
    while needle and needle[-1] == " ":
        needle.pop()
    while needle and needle[0] == " ":
        needle.pop(0)
    hay = list(units(text))
    return any(begins(hay[at:], needle, whole=whole) for at in range(len(hay)))


def begins(hay: list[str], needle: list[str], *, whole: bool) -> bool:
    at = 0
    for number, unit in enumerate(needle):
        if unit == " ":
            continue
        if number and not (is_dense(unit[0]) and is_dense(needle[number - 1][0])):
            while at < len(hay) and hay[at] == " ":
                at += 1
        if at >= len(hay):
            return False
        last = number == len(needle) - 1
        is_open = last and not whole and len(unit) >= 3 and not is_dense(unit[0])
        if not (hay[at] == unit or (is_open and hay[at].startswith(unit))):
            return False
        at += 1
    return True


def naive(rows: Sequence[Text], parts: Sequence[tuple[str, str]], owner: str) -> list[int]:
    """The ids of the texts of `owner` that match, newest first."""
    return [
        row.id
        for row in sorted(rows, key=lambda row: -row.id)
        if row.owner[0] == owner and all(fits(row, kind, word) for kind, word in parts)
    ]


def fits(row: Text, kind: str, word: str) -> bool:
    if kind == "model":
        return has(row.model, word, whole=False)
    found = has(row.text, word, whole=kind in ("phrase", "not phrase"))
    return found is not kind.startswith("not")


MODEL = {"model": "model:{}"}


def written(parts: Sequence[tuple[str, str]]) -> str:
    forms = {
        "word": "{}",
        "phrase": '"{}"',
        "not": "-{}",
        "not phrase": '-"{}"',
        "model": "model:{}",
    }
    return " ".join(forms[kind].format(word) for kind, word in parts)


def rows_of(place: Place) -> list[Text]:
    return [
        Text(number, text, (workspace, channel), model or "")
        for number, text, workspace, channel, model in look(
            place,
            "SELECT messages.id, messages.content, workspace, conversations.channel,"
            " CASE WHEN kind = 'reply' THEN turns.model ELSE '' END FROM messages"
            " JOIN conversations ON conversations.id = messages.conversation_id"
            " LEFT JOIN turns ON turns.id = turn_id WHERE erased_at IS NULL",
        )
    ]


def some_text(chance: random.Random) -> str:
    between = (" ", " ", " ", ", ", "\n", "", "-", ". ")
    return "".join(
        chance.choice(WORDS) + chance.choice(between) for _ in range(chance.randint(1, 25))
    )


def some_parts(chance: random.Random) -> list[tuple[str, str]]:
    parts = []
    for _ in range(chance.randint(1, 3)):
        kind = chance.choice(["word"] * 6 + ["phrase", "phrase", "not", "not phrase", "model"])
        word = chance.choice(WORDS)
        if kind in ("phrase", "not phrase"):
            word = f"{word} {chance.choice(WORDS)}"
        elif kind == "word" and chance.random() < 0.3:
            word = word[: chance.randint(1, 4)]
        if kind == "model":
            word = chance.choice(["gpt", "gpt-5", "mini", "echo", "openai/gpt"])
        if any(map(str.isalnum, word)):
            parts.append((kind, word))
    return parts if any(not kind.startswith("not") for kind, _ in parts) else [("word", "deploy")]


async def fill(store: SqlStore, chance: random.Random, count: int) -> None:
    models = ("echo", "openai/gpt-5", "openai/gpt-5-mini")
    for number in range(1, count + 1):
        user = chance.choice(["ann", "ann", "bob"])
        key = where(f"t{chance.randint(1, 8)}", user, chance.choice(["general", "general", "api"]))
        answer = some_text(chance) if chance.random() < 0.7 else ""
        await ask(store, number, some_text(chance), key, answer, chance.choice(models))


@pytest.mark.parametrize("seed", [1, 2])
async def test_it_finds_what_a_naive_search_finds(place: Place, seed: int) -> None:
    """The search returns the same hits page by page, in order, before and after texts are
    indexed."""
    chance = random.Random(seed)
    async with open_unhurried(place, clock=ManualClock()) as store:
        await fill(store, chance, 60)
        rows = rows_of(place)
        uids = dict(look(place, "SELECT uid, id FROM messages"))
        queries = [some_parts(chance) for _ in range(80)]
        found = 0
        for indexed in (False, True):
            if indexed:
                await store.search_indexer.finish()
                assert look(place, "SELECT count(*) FROM search_queue WHERE document <> 0") == [
                    (0,)
                ]
            for parts in queries:
                owner = chance.choice(["ann", "bob"])
                hits = await all_messages(store, written(parts), RecordScope("web", owner), chance)
                assert [uids[hit.message] for hit in hits] == naive(rows, parts, owner), parts
                found += len(hits)
        assert found > 250


async def all_messages(
    store: SqlStore, text: str, scope: RecordScope, chance: random.Random
) -> list[SearchHit]:
    """The message hits on all pages."""
    hits: list[SearchHit] = []
    after: str | None = None
    while True:
        page = await store.search().search(
            [scope], parse_query(text), after=after, limit=chance.randint(5, 9)
        )
        hits += [hit for hit in page.hits if hit.message]
        if page.next is None:
            return hits
        after = page.next


async def test_no_one_finds_texts_of_other_people(place: Place) -> None:
    """Random users and channels, each text with its owner's mark, and every kind of query."""
    chance = random.Random(3)
    users = [f"user{n}" for n in range(6)]
    async with open_unhurried(place, clock=ManualClock()) as store:
        for number in range(1, 80):
            user, channel = chance.choice(users), chance.choice(["general", "api"])
            text = f"shared {user}mark {channel}mark secret"
            key = where(f"{user}-t{number % 3}", user, channel)
            await ask(store, number, text, key, f"answer {text}" if number % 2 else "")
            if number == 50:
                await store.search_indexer.finish()
        for user in users:
            for query in (
                "shared",
                "sec",
                "in:title shared",
                "after:1970",
                "model:echo",
                "-zzz shared",
            ):
                scope = RecordScope("web", user)
                hits = await find(store, query, scope)
                assert hits, query
                for hit in hits:
                    assert f"{user}mark" in (hit.snippet.text or hit.title.text)
                    assert f"{user}mark" in hit.title.text
                narrow = await find(store, query, replace(scope, channel="general"))
                assert all("generalmark" in hit.title.text for hit in narrow)
                await find_in_two(store, query, replace(scope, channel="general"), users)
        assert await find(store, "shared", RecordScope("sim", "user1")) == []
        assert await find(store, "shared", RecordScope("web", "stranger")) == []


async def find_in_two(store: SqlStore, query: str, own: RecordScope, users: Sequence[str]) -> None:
    """A search of two places finds what two searches find, and names the place of each hit."""
    other = RecordScope("web", next(user for user in users if user != own.workspace), "api")
    page = await store.search().search([own, other], parse_query(query), limit=100)
    apart = [*await find(store, query, own, 100), *await find(store, query, other, 100)]
    assert {hit.message for hit in page.hits} == {hit.message for hit in apart}
    assert {hit.place for hit in page.hits} == {own, other}
    for hit in page.hits:
        assert f"{hit.place.workspace}mark {hit.place.channel}mark" in hit.title.text


# ── what is found ─────────────────────────────────────────────────────────────────────────────
async def test_titles_come_first_then_the_newest_messages(place: Place) -> None:
    async with open_unhurried(place) as store:
        await ask(store, 1, "Old plans for the harbor", where("t1"), "The harbor is large.")
        await ask(store, 2, "Something else", where("t2"), "Ships in the harbor.", "openai/gpt-5")
        hits = await find(store, "HARBOR")
        assert [hit.message is None for hit in hits] == [True, False, False, False]
        assert hits[0].title.text == "Old plans for the harbor"
        assert hits[0].title.marks == ((18, 24),)
        assert [hit.snippet.text for hit in hits[1:]] == [
            "Ships in the harbor.", "The harbor is large.", "Old plans for the harbor",
        ]  # fmt: skip
        newest = hits[1]
        assert (newest.role, newest.is_reply, newest.model) == (
            Role.ASSISTANT,
            True,
            "openai/gpt-5",
        )
        assert newest.turn == 2
        assert newest.snippet.marks == ((13, 19),)
        assert [hit.title.text for hit in await find(store, "in:title harbor")] == [
            "Old plans for the harbor"
        ]
        assert await texts(store, "model:gpt-5 harbor") == ["Ships in the harbor."]
        assert await texts(store, "before:1990 harbor") == []
        assert len(await texts(store, "after:1990 harbor")) == 3


async def test_long_beginnings_of_words_are_found(place: Place) -> None:
    """Also those that are longer than the beginnings in SQLite's index."""
    async with open_unhurried(place) as store:
        await ask(store, 1, "deployments", where("t1"))
        await ask(store, 2, "deploymexico", where("t2"))
        await ask(store, 3, "\u0130stanbulistanbul", where("t3"))
        await store.search_indexer.finish()
        assert await texts(store, "deploym") == ["deploymexico", "deployments"]
        assert await texts(store, "deploymen") == ["deployments"]
        assert await texts(store, "deploym -deploymen") == ["deploymexico"]
        assert await texts(store, "istanbulist") == ["\u0130stanbulistanbul"]
        assert await texts(store, "deploymeni") == []


async def test_what_the_index_names_is_looked_up_by_its_number(tmp_path: Path) -> None:
    """SQLite reads no other conversation of the person: its statistics know nothing of a person who
    has nearly all of them."""
    path = tmp_path / "threadline.db"
    async with open_unhurried(path) as store:
        await ask(store, 1, "deploy", where("t1"), "deployed")
        await store.search_indexer.finish()
        scopes = [ANN, RecordScope("web", "ann"), RecordScope("web", "@team", "ops")]
        with connected(path) as db:
            recorder = PlanRecorder(db)
            for some in (scopes[:1], scopes[1:2], scopes):
                page = search.find(
                    recorder, store.search_indexer.index, some, parse_query("deploy"), None, 20,
                    seconds=60.0,
                )  # fmt: skip
                assert len(page.hits) == 3
    assert len(recorder.plans) == 6
    for plan in recorder.plans:
        assert all("INTEGER PRIMARY KEY" in step for step in plan), plan


class PlanRecorder:
    """A connection that records the plans of statements that read conversations."""

    def __init__(self, db: Any) -> None:
        self._db, self.plans = db, list[list[str]]()

    def execute(self, sql: str, values: Any = ()) -> Any:
        if "conversations" in sql:
            plan = self._db.execute(f"EXPLAIN QUERY PLAN {sql}", values)
            self.plans.append([row["detail"] for row in plan])
        return self._db.execute(sql, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


async def test_names_of_files_are_found(place: Place) -> None:
    async with open_unhurried(place) as store:
        file = IncomingAttachment(name="Quartalsbericht.pdf", data=b"%PDF")
        await ask(store, 1, "see here", where("t1"), attachments=[file])
        assert await texts(store, "quartals") == ["see here Quartalsbericht.pdf"]
        await store.search_indexer.finish()
        assert await texts(store, "quartals") == ["see here Quartalsbericht.pdf"]


async def test_a_search_that_runs_out_of_time_says_so(place: Place) -> None:
    async with open_unhurried(place) as store:
        store.search().seconds = 0.0
        await ask(store, 1, "deploy", where("t1"))
        page = await store.search().search([ANN], parse_query("deploy"))
        assert page == SearchPage([], "m", is_partial=True, is_indexing=False)
        page = await store.search().search([ANN], parse_query("deploy"), after=page.next)
        assert page == SearchPage([], None, is_partial=True, is_indexing=False)  # no progress


@pytest.mark.parametrize("looks_of_a_part", [1, 3, 8])
async def test_titles_that_take_all_the_time_are_followed_by_the_rest(
    place: Place, monkeypatch: pytest.MonkeyPatch, looks_of_a_part: int
) -> None:
    """Twenty titles have the words but not the phrase; the only hit is an answer."""
    async with open_unhurried(place, clock=ManualClock()) as store:
        for number in range(1, 21):
            answer = "words, order" if number == 7 else "no"
            await ask(store, number, f"order of words {number}", where(f"t{number}"), answer)
        await store.search_indexer.finish()
        left = 0

        def require_time(_: object) -> float:
            nonlocal left
            left -= 1
            if left < 0:
                raise OutOfTime
            return 60.0

        monkeypatch.setattr(search._Search, "_require_time", require_time)
        found, after, parts = [], None, 0
        while parts < 200:
            left = looks_of_a_part
            page = await store.search().search([ANN], parse_query('"words order"'), after=after)
            found += page.hits
            parts, after = parts + 1, page.next
            if after is None:
                break
        assert [hit.snippet.text for hit in found] == ["words, order"]
        assert 3 < parts < 50


async def test_the_next_page_follows_a_text_that_was_deleted(place: Place) -> None:
    async with open_unhurried(place, clock=ManualClock()) as store:
        for number in range(1, 13):
            await ask(store, number, f"deploy {number}", where(f"t{number}"))
        for query, count in (("deploy", 4), ("in:title deploy", 4)):
            first = await store.search().search([ANN], parse_query(query), limit=count + 4)
            last = first.hits[-1]
            assert await store.library().delete(last.conversation, ANN) is not None
            second = await store.search().search(
                [ANN], parse_query(query), after=first.next, limit=3
            )
            kind = "title" if query.startswith("in:") else "message"
            numbers = [_number_of(hit, kind) for hit in [last, *second.hits]]
            assert numbers == list(range(numbers[0], numbers[0] - 4, -1))


async def test_few_results_at_a_time_are_all_results(place: Place) -> None:
    """Also with a page that has room for titles only."""
    async with open_unhurried(place, clock=ManualClock()) as store:
        for number in range(1, 8):
            await ask(store, number, f"deploy {number}", where(f"t{number}"))
        hits, after = list[SearchHit](), None
        for _ in range(20):
            page = await store.search().search([ANN], parse_query("deploy"), after=after, limit=2)
            hits += page.hits
            after = page.next
            if after is None:
                break
        assert after is None
        numbers = [_number_of(hit, "message") for hit in hits if hit.message]
        assert numbers == [7, 6, 5, 4, 3, 2, 1]


def _number_of(hit: SearchHit, kind: str) -> int:
    text = hit.title.text if kind == "title" else hit.snippet.text
    return int(text.split()[-1])


async def test_a_phrase_of_common_words_is_looked_for_in_parts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part reports how far back it reached, and the next one continues there."""
    async with open_unhurried(place, clock=ManualClock()) as store:
        for number in range(1, 21):
            await ask(store, number, f"words in this order {number}", where("t1"))
        await store.search_indexer.finish()
        looks = 0  # by the clock, in one part

        def require_time(_: object) -> float:
            nonlocal looks
            looks += 1
            if looks > 12:
                raise OutOfTime
            return 60.0

        monkeypatch.setattr(search._Search, "_require_time", require_time)
        pages: list[SearchPage] = []
        while len(pages) < 20 and (not pages or pages[-1].is_partial):
            looks, after = 0, pages[-1].next if pages else None
            query = parse_query('"order words"')
            pages.append(await store.search().search([ANN], query, after=after))
        assert [page.hits for page in pages] == [[]] * len(pages)
        times = [page.reached for page in pages[:-1]]
        assert 1 < len(times) < 19
        assert None not in times
        assert times == sorted(times, reverse=True)
        assert pages[-1] == SearchPage([])


# ── changes ───────────────────────────────────────────────────────────────────────────────────
def indexed(place: Place) -> str:
    """All words in the index's table."""
    return " ".join(words for (words,) in look(place, "SELECT tokens FROM search_documents"))


@pytest.fixture
async def zoo(place: Place) -> AsyncIterator[SqlStore]:
    """Two people's texts about walruses in the index; the test performs the bot's later steps by
    hand."""
    async with open_unhurried(place, clock=ManualClock()) as store:
        await ask(store, 1, "walrus one", where("t1"), "the walrus answers")
        file = IncomingAttachment(name="walrus.txt", data=b"text")
        await ask(store, 2, "second", where("t1"), attachments=[file])
        await ask(store, 3, "walrus of bob", where("t2", "bob"), "walrus too")
        await store.search_indexer.finish()
        assert walruses(place) == 4 + 3
        yield store


def walruses(place: Place) -> int:
    """How often the word is indexed, according to FTS5 or GIN and to their table."""
    in_table = indexed(place).split().count("walrus")
    if isinstance(place, PostgresPlace):
        return in_table
    matching = "SELECT count(*) FROM search_index WHERE search_index MATCH 'walrus'"
    assert look(place, matching) == [(in_table,)]
    change(place, "INSERT INTO search_index (search_index) VALUES ('integrity-check')")
    return in_table


async def edit(store: SqlStore, _: Place) -> None:
    await store.edit("web/ann/general/m1", "seal", 9.0)


async def erase_message(store: SqlStore, _: Place) -> None:
    await store.erase("web/ann/general/m1", with_reply=True)


async def delete_page(store: SqlStore, place: Place) -> None:
    [(source,)] = look(place, "SELECT source FROM pages WHERE turn_id = 1")
    await store.erase(source, with_reply=False)


async def delete_file(store: SqlStore, place: Place) -> None:
    await store.edit("web/ann/general/m2", "second", 9.0, [])


async def erase_record(store: SqlStore, place: Place) -> None:
    [(uid,)] = look(place, "SELECT uid FROM messages WHERE kind = 'reply' AND turn_id = 1")
    await store.library().erase(1, uid)


async def delete_conversation(store: SqlStore, place: Place) -> None:
    [(uid,)] = look(place, "SELECT uid FROM conversations WHERE id = 1")
    await store.library().delete(uid, ANN)


async def rename(store: SqlStore, place: Place) -> None:
    [(uid,)] = look(place, "SELECT uid FROM conversations WHERE id = 1")
    await store.library().update(uid, ANN, name="seal")


async def forget(store: SqlStore, _: Place) -> None:
    person = Person("web", "ann", "ann")
    for conversation in await store.privacy().conversations_of(person, 2e9):
        await store.privacy().erase_in(conversation, person, 2e9)


async def retention(store: SqlStore, place: Place) -> None:
    for claim in look(place, "SELECT id FROM turns WHERE state = 'waiting'"):
        change(place, "UPDATE turns SET state = 'done', outcome = 'stopped' WHERE id = ?", *claim)
    await store.privacy().erase_step(1, 2e9)


WAYS: dict[Callable[[SqlStore, Place], Coroutine[Any, Any, None]], int] = {
    edit: 2, erase_message: 1, delete_page: 3, delete_file: 3, erase_record: 3,
    delete_conversation: 0, rename: 3, forget: 0, retention: 0,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_erased_text_leaves_the_index_in_the_same_transaction(
    zoo: SqlStore, place: Place, way: Callable[[SqlStore, Place], Coroutine[Any, Any, None]]
) -> None:
    """Each operation leaves this many of Ann's four texts, and all three of Bob's."""
    await way(zoo, place)
    assert walruses(place) <= WAYS[way] + 3
    before = [hit.snippet or hit.title for hit in await find(zoo, "walrus")]
    await zoo.search_indexer.finish()
    await zoo.search_indexer.overwrite()
    assert walruses(place) == WAYS[way] + 3
    assert [hit.snippet or hit.title for hit in await find(zoo, "walrus")] == before
    assert len(before) == WAYS[way]
    assert len(await find(zoo, "walrus", BOB)) == 3
    assert look(place, "SELECT count(*) FROM search_queue") == [(0,)]


async def test_a_text_that_the_index_refuses_costs_no_other(place: Place) -> None:
    async with open_unhurried(place, clock=ManualClock()) as store:
        await ask(store, 1, "walrus", where("t1"))
        await ask(store, 2, "walrus two", where("t2"))
        if isinstance(place, PostgresPlace):
            change(place, "ALTER TABLE search_documents ADD CHECK (document <> 1)")
        else:
            change(
                place,
                "CREATE TRIGGER refuse BEFORE INSERT ON search_documents WHEN NEW.document = 1"
                " BEGIN SELECT RAISE(ABORT, 'refused'); END",
            )
        await store.search_indexer.finish()
        assert walruses(place) == 3, "the other message, and both titles"
        assert look(place, "SELECT count(*) FROM search_queue WHERE document <> 0") == [(0,)]


async def test_a_text_that_changes_while_it_is_indexed_is_not_put_in_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_unhurried(place, clock=ManualClock()) as store:
        await ask(store, 1, "walrus", where("t1"), "walrus answer")
        await ask(store, 2, "walrus two", where("t2"))
        make = search_indexer._documents

        def with_changes(found: Any) -> Any:
            change(place, "UPDATE messages SET content = 'seal' WHERE content = 'walrus'")
            change(place, "UPDATE conversations SET name = 'seal'")
            change(place, "DELETE FROM messages WHERE content = 'walrus two'")
            monkeypatch.setattr(search_indexer, "_documents", make)
            return make(found)

        monkeypatch.setattr(search_indexer, "_documents", with_changes)
        assert await store.search_indexer.step()
        assert indexed(place).split().count("walrus") == 1
        await store.search_indexer.finish()
        assert indexed(place).split().count("seal") == 3
        assert indexed(place).split().count("walrus") == 1


async def test_a_start_continues_where_the_last_process_stopped(place: Place) -> None:
    """Nothing is in the index at first, and everything waits, as after the migration."""
    async with open_unhurried(place, clock=ManualClock()) as store:
        for number in range(1, 100):
            await ask(store, number, f"walrus {number}", where(f"t{number}"))
        assert len(await texts(store, "walrus")) == 46
        assert await store.search_indexer.step()
        [(left,)] = look(place, "SELECT count(*) FROM search_queue")
        assert left == 2 * 99 - 64
    clock = ManualClock()
    async with open_unhurried(place, clock=clock) as store:
        while look(place, "SELECT count(*) FROM search_queue") != [(0,)]:
            await clock.advance(1.0)
            await asyncio.sleep(0.001)
        assert len(await find(store, "walrus", limit=200)) == 99 + 4
    assert walruses(place) == 198


async def test_many_waiting_texts_are_announced(place: Place) -> None:
    async with open_unhurried(place, clock=ManualClock()) as store:
        for number in range(1, 203):
            await ask(store, number, f"walrus {number}", where("t1"))
        page = await store.search().search([ANN], parse_query("walrus"))
        assert page.is_indexing
        assert page.hits[1].snippet.text == "walrus 202"
        await store.search_indexer.finish()
        page = await store.search().search([ANN], parse_query("walrus"))
        assert not page.is_indexing


async def test_other_platforms_conversations_are_not_indexed(place: Place) -> None:
    async with open_unhurried(place, clock=ManualClock()) as store:
        accepted = await store.accept(said(1, "walrus"))
        await answer_next(store, accepted.conversation)
        assert look(place, "SELECT count(*) FROM search_queue") == [(0,)]


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────
def files_with(path: Path, words: bytes) -> list[str]:
    """The database files that contain the words."""
    return [file.name for file in path.parent.glob(f"{path.name}*") if words in file.read_bytes()]


async def test_the_index_has_no_word_of_a_forgotten_person_in_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with open_unhurried(path, clock=ManualClock()) as store:
        for number in range(1, 300):
            user = "ann" if number % 2 else "bob"
            text = f"{user}swalrus{number} common words of both"
            await ask(store, number, text, where(f"t{number % 7}", user))
            if number % 50 == 0:
                await store.search_indexer.finish()  # several parts of the index
        assert files_with(path, b"swalrus51")
        await forget(store, path)
        assert not indexed(path).count("annswalrus")
        assert await store.privacy().overwrite()
        # FTS5 stores only the end of a word that begins like the previous one.
        assert files_with(path, b"annswalrus") == []
        assert files_with(path, b"annsw") == []
        assert files_with(path, b"bobsw")
        assert look(path, "SELECT count(*) FROM search_queue WHERE document = 0") == [(0,)]
        assert len(await find(store, "swalrus", RecordScope("web", "bob"))) == 0
        assert len(await find(store, "bobswalrus", RecordScope("web", "bob"), 500)) >= 149


# ── backups ───────────────────────────────────────────
async def test_a_restored_backup_does_not_bring_words_back(tmp_path: Path) -> None:
    path, saved = tmp_path / "store.db", tmp_path / "saved.db"
    async with open_unhurried(path) as store:
        await ask(store, 1, "annswalrus speaks", where("t1"), "of the annswalrus")
        await ask(store, 2, "bobsseal speaks", where("t2", "bob"))
        await store.search_indexer.finish()
        backup(path, saved)
        await forget_for_good(store)
        assert files_with(path, b"annsw") == []
    restore(path, saved)
    assert files_with(path, b"annsw") == []
    async with open_unhurried(path) as store:
        assert await find(store, "annswalrus") == []
        assert len(await texts(store, "bobsseal", RecordScope("web", "bob"))) == 1


async def forget_for_good(store: SqlStore) -> None:
    await store.privacy().list_erasure(Person("web", "ann", "ann"))
    await forget(store, Path())
    await store.privacy().overwrite()
