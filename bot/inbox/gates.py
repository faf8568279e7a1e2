"""What a message passes before it is stored: who may ask, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.inbox.access import AccessGate
from bot.inbox.background_replies import BackgroundReplies
from bot.inbox.backlog import BacklogReader
from bot.inbox.rates import RateGate
from bot.policy.rates import QuestionRates
from bot.ports.clock import Clock
from bot.ports.platform import Adapter
from bot.ports.policy import Policy
from bot.ports.store import Store


@dataclass(frozen=True, slots=True)
class Gates:
    """The checks, the reader whose messages pass them, and the replies to those who may not."""

    access: AccessGate
    rates: RateGate
    backlog: BacklogReader
    replies: BackgroundReplies


def build_gates(
    *,
    store: Store,
    adapters: Mapping[str, Adapter],
    clock: Clock,
    policy: Policy | None = None,
    rates: QuestionRates | None = None,
) -> Gates:
    """The gates of an inbox; without `policy`, everyone may ask."""
    replies = BackgroundReplies(adapters)
    access = AccessGate(policy=policy, store=store, replies=replies)
    return Gates(
        access=access,
        rates=RateGate(
            rates=rates or QuestionRates(policy, clock),
            store=store,
            clock=clock,
            tell=replies.tell,
        ),
        backlog=BacklogReader(store=store, gate=access, adapters=adapters),
        replies=replies,
    )
