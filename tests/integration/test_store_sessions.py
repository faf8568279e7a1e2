"""Browser sessions in the database, and as several processes see them."""

from __future__ import annotations

import pytest

from adapters.web.auth import Access
from adapters.web.sessions import (
    EXTEND_SECONDS,
    LIFETIME_SECONDS,
    MOST_SESSIONS,
    OUTAGE_SECONDS,
    RECHECK_SECONDS,
    Sessions,
)
from bot.domain.conversations import ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.privacy import EVERYWHERE, Person
from bot.domain.sessions import BrowserSession
from bot.ports.sessions import SessionStore
from bot.privacy.forgetting import Forgetter
from tests.support.clock import ManualClock
from tests.support.store_kit import Place, look, opened

ACCESS = Access({"alice": "alice-token-of-16", "bob": "bob-token-of-16-too"})


class Failing:
    """A store that can stop responding."""

    def __init__(self, store: SessionStore) -> None:
        self.store, self.fails = store, False

    async def begin_session(self, session: BrowserSession, most: int) -> None:
        await self._works().begin_session(session, most)

    async def read_session(self, digest: str) -> BrowserSession | None:
        return await self._works().read_session(digest)

    async def extend_session(self, digest: str, expires_at: float) -> None:
        await self._works().extend_session(digest, expires_at)

    async def end_session(self, digest: str) -> None:
        await self._works().end_session(digest)

    def _works(self) -> SessionStore:
        if self.fails:
            raise StoreUnavailable("the disk is full")
        return self.store


async def test_a_session_ends_a_month_after_its_last_use(place: Place) -> None:
    """One use a day keeps it alive; the last use before the expiry counts, the first one after does
    not."""
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        sessions = Sessions(store=store.sessions(), access=ACCESS, clock=clock)
        used, unused = await sessions.begin("alice"), await sessions.begin("alice")
        for _ in range(40):
            clock.jump(EXTEND_SECONDS)
            assert await sessions.user_of(used) == "alice"
        assert await sessions.user_of(unused) is None
        clock.jump(LIFETIME_SECONDS - EXTEND_SECONDS)
        assert await sessions.user_of(used) == "alice"
        clock.jump(LIFETIME_SECONDS)
        assert await sessions.user_of(used) is None
        await sessions.begin("bob")  # deletes expired sessions
        assert look(place, "SELECT person FROM sessions") == [("bob",)]


async def test_other_processes_notice_a_sign_out_within_seconds(place: Place) -> None:
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        here, there = (
            Sessions(store=store.sessions(), access=ACCESS, clock=clock) for _ in range(2)
        )
        secret = await here.begin("alice")
        assert await there.user_of(secret) == "alice"
        await here.end(secret)
        assert await here.user_of(secret) is None
        clock.jump(RECHECK_SECONDS)
        assert await there.user_of(secret) is None


async def test_a_known_session_outlives_an_outage_of_the_database(place: Place) -> None:
    """A session that this process has not seen cannot be judged, and none begins or ends."""
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        failing = Failing(store.sessions())
        sessions = Sessions(store=failing, access=ACCESS, clock=clock)
        known, unknown = await sessions.begin("alice"), await sessions.begin("alice")
        assert await sessions.user_of(known) == "alice"
        failing.fails = True
        clock.jump(OUTAGE_SECONDS - 1)
        assert await sessions.user_of(known) == "alice"
        for attempt in (sessions.user_of(unknown), sessions.begin("bob"), sessions.end(known)):
            with pytest.raises(StoreUnavailable):
                await attempt
        clock.jump(1)
        with pytest.raises(StoreUnavailable):
            await sessions.user_of(known)
        failing.fails = False
        assert await sessions.user_of(known) == "alice"


async def test_a_changed_token_ends_sessions_and_the_database_opens_none(place: Place) -> None:
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        sessions = Sessions(store=store.sessions(), access=ACCESS, clock=clock)
        secret = await sessions.begin("alice")
        changed = Access({"alice": "another-token-of-16", "bob": "bob-token-of-16-too"})
        for access in (changed, Access({"bob": "bob-token-of-16-too"})):
            later = Sessions(store=store.sessions(), access=access, clock=clock)
            assert await later.user_of(secret) is None
        [row] = look(place, "SELECT digest, proof FROM sessions")
        for value in row:
            assert secret not in value
            assert await sessions.user_of(value[:43]) is None


async def test_a_person_has_a_bounded_number_of_browsers(place: Place) -> None:
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        sessions = Sessions(store=store.sessions(), access=ACCESS, clock=clock)
        bobs, first = await sessions.begin("bob"), await sessions.begin("alice")
        for _ in range(MOST_SESSIONS):
            clock.jump(1)
            newest = await sessions.begin("alice")
        assert [await sessions.user_of(each) for each in (bobs, first, newest)] == [
            "bob", None, "alice",
        ]  # fmt: skip


async def test_a_forgotten_person_is_signed_out(place: Place) -> None:
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        sessions = Sessions(store=store.sessions(), access=ACCESS, clock=clock)
        alices, bobs = await sessions.begin("alice"), await sessions.begin("bob")
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        where = ConversationKey("web", "alice", "general", "")
        await forgetter.forget(Person("web", EVERYWHERE, "alice"), by="alice", key=where)
        clock.jump(RECHECK_SECONDS)
        assert await sessions.user_of(alices) is None
        assert await sessions.user_of(bobs) == "bob"
        assert look(place, "SELECT person FROM sessions") == [("bob",)]
