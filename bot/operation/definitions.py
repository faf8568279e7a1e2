"""Defines every metric of the bot: name, kind, labels and meaning.

Invariant: a label has few values, known in advance; none is the id or the name of a person, a
channel, a workspace or a conversation. `bot.operation.prometheus` serves the metrics, and
`docs/operating.md` has this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How Prometheus treats a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. `buckets` are a histogram's upper bounds, in seconds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The metric's names in queries."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


PERSON_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0)
"""Waits that people can tell apart: one second feels quick, and many leave after ten."""

LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""No step of the bot may hold the event loop for longer than 10 ms."""

STORE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""A commit to an SSD takes a few milliseconds; SQLite waits 5 s for another program's lock."""


def _counter(name: str, help: str, *labels: str) -> Definition:
    return Definition(name, Kind.COUNTER, help, labels)


def _gauge(name: str, help: str, *labels: str) -> Definition:
    return Definition(name, Kind.GAUGE, help, labels)


def _histogram(name: str, buckets: tuple[float, ...], help: str, *labels: str) -> Definition:
    return Definition(name, Kind.HISTOGRAM, help, labels, buckets)


# ── people and their questions ────────────────────────────────────────────────────────────────
EVENTS = _counter(
    "threadline_events_total", "Messages, edits and commands that arrived.", "platform"
)
LAST_EVENT = _gauge(
    "threadline_last_event_timestamp_seconds", "When the last event arrived.", "platform"
)
TURNS_ENDED = _counter(
    "threadline_turns_total", "Turns whose reply is completely shown.", "platform", "outcome"
)
FAILURES = _counter(
    "threadline_turn_failures_total", "Turns without a complete answer.", "platform", "reason"
)
LAST_REPLY = _gauge(
    "threadline_last_reply_timestamp_seconds", "When a reply was last complete.", "platform"
)
TURNS = _gauge(
    "threadline_turns",
    "Unfinished turns in the database: waiting, running, or concluded and not shown completely. "
    "All processes on one database report the same.",
    "platform",
    "state",
)
OLDEST_QUESTION = _gauge(
    "threadline_oldest_waiting_question_seconds",
    "Age of the oldest question without any visible reply; 0 if there is none. Questions that wait "
    "for a growing reply in their conversation to end do not count. "
    "All processes on one database report the same.",
    "platform",
)
FIRST_TEXT = _histogram(
    "threadline_first_text_seconds",
    PERSON_SECONDS,
    "Time from sending a question to the first visible text of its reply, even if that text only "
    "says why there is no answer.",
    "platform",
)
UNSEEN_TEXT = _gauge(
    "threadline_unseen_text_seconds",
    "Age of the oldest text that is written but not on the screen yet; 0 if there is none.",
    "platform",
)
SLOTS_USED = _gauge("threadline_answers_running", "Answers that are being written.")
SLOTS_WAITING = _gauge(
    "threadline_answers_queued", "Turns that wait for MAX_CONCURRENT_TURNS or a rule's limit."
)
ATTACHMENTS = _counter(
    "threadline_attachments_total", "Files and links, by result: read, or why not.", "result"
)

# ── platforms ─────────────────────────────────────────────────────────────────────────────────
PART_UP = _gauge(
    "threadline_part_up", "1 if a platform or another part works, as in /healthz, else 0.", "part"
)
RATE_LEFT = _gauge(
    "threadline_rate_limit_remaining",
    "Requests left now, in the scope of the class with the fewest.",
    "platform",
    "scope",
)
RATE_LIMIT = _gauge(
    "threadline_rate_limit_requests", "The whole budget of that scope.", "platform", "scope"
)
RATE_LIMITED = _counter(
    "threadline_rate_limited_total",
    "Requests that the platform rejected with 429.",
    "platform",
    "scope",
)
REQUESTS_WAITING = _gauge(
    "threadline_platform_requests_waiting", "Requests that wait for a rate limit.", "platform"
)
LEFTOVERS = _gauge(
    "threadline_leftovers",
    "Messages, files, statuses and threads that the bot could not remove yet, and tries again. "
    "All processes on one database report the same.",
    "platform",
    "kind",
)
OLDEST_LEFTOVER = _gauge(
    "threadline_oldest_leftover_seconds",
    "Age of the oldest of them; 0 if there is none. The bot gives up after a day. "
    "All processes on one database report the same.",
    "platform",
    "kind",
)

# ── models ────────────────────────────────────────────────────────────────────────────────────
MODEL_REQUESTS = _counter(
    "threadline_model_requests_total",
    "Requests to models that cost something. The model is one that the settings name, "
    "PROVIDER/other, or other.",
    "model",
    "purpose",
)
MODEL_TOKENS = _counter(
    "threadline_model_tokens_total",
    "Tokens by kind: cached ones are part of input, reasoning ones part of output.",
    "model",
    "kind",
)
MODEL_COST = _counter(
    "threadline_model_cost_dollars_total", "Cost in US dollars, where the price is known.", "model"
)
PROMPT_CACHE = _counter(
    "threadline_prompt_cache_requests_total",
    "Requests whose beginning was in the provider's cache (hit) or not (miss), if it reports that.",
    "model",
    "result",
)
BREAKERS = _gauge(
    "threadline_circuit_breakers",
    "Models by the state of their circuit breaker; open and half_open ones are not asked.",
    "provider",
    "state",
)

# ── the process ───────────────────────────────────────────────────────────────────────────────
STORE_SECONDS_SPENT = _histogram(
    "threadline_store_seconds", STORE_SECONDS, "Duration of a call to the database.", "call"
)
STORE_FAILURES = _counter(
    "threadline_store_failures_total", "Calls that failed because the database failed.", "call"
)
DATABASE_BYTES = _gauge("threadline_database_bytes", "Size of the database on disk.")
LOOP_LAG = _histogram(
    "threadline_event_loop_lag_seconds",
    LAG_SECONDS,
    "How late a timer of the event loop was, twice a second.",
)
MEMBERS = _gauge("threadline_cluster_members", "Processes that share the database.")
HELD = _gauge("threadline_leases_held", "What this process holds by lease.", "group")
LEASE_LOSSES = _counter(
    "threadline_lease_losses_total", "Leases that expired because the process was silent."
)
DRAINING = _gauge("threadline_draining", "1 once the process is about to end, else 0.")
STARTED = _gauge("threadline_start_timestamp_seconds", "When the process started.")
INFO = _gauge("threadline_info", "Always 1; the label has the version.", "version")

METRICS = tuple(each for each in list(vars().values()) if isinstance(each, Definition))
"""All metrics, in the order above."""

LIBRARY_METRICS = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
    "python_gc_collections_total",
    "python_gc_objects_collected_total",
    "python_gc_objects_uncollectable_total",
)
"""The metrics of prometheus-client's own collectors."""
