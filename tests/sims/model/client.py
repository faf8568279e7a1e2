"""`ModelSim`: a model server in a process of its own, and every way to drive it, typed."""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.sims.kit import SimProcess
from tests.sims.model.answers import Answer
from tests.sims.model.play import Record
from tests.sims.model.wire import Dialect


class ModelSim(SimProcess):
    """The model server as an async context manager; see `Answer` and `Dialect` for the fields.

    The newest script is tried first; without one the answer says how many messages came, and the
    last one's text. Models are `sim`, `sim-2` and `org/sim`, and no key is asked for.
    """

    def __init__(self, *, port: int = 0, rtt: float = 0.0) -> None:
        super().__init__("tests.sims.model", port=port, rtt=rtt)

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` and `HF_BASE_URL` take."""
        return f"{self.url}/v1"

    # ── what it answers ───────────────────────────────────────────────────────────────────────
    async def script(self, *answers: Answer) -> None:
        """Put answers in front of those that are there, in this order."""
        await self.call("script", answers=[dataclasses.asdict(answer) for answer in answers])

    async def say(self, text: str | list[str], **fields: Any) -> None:
        """Answer with a text (cut into tokens) or with these chunks; `fields` as in `Answer`."""
        if isinstance(text, str):
            await self.script(Answer(text=text, **fields))
        else:
            await self.script(Answer(chunks=text, **fields))

    async def refuse(self, fault: str, *, times: int | None = 1, **fields: Any) -> None:
        """Refuse the next requests: `fault` is a name in `refusals`, such as "rate_limited"."""
        await self.script(Answer(fault=fault, times=times, **fields))

    async def break_off(
        self, breaks: str, *, at: int = 1, times: int | None = 1, **fields: Any
    ) -> None:
        """Let the next answers go wrong at token `at`: `breaks` as in `Answer`."""
        await self.script(Answer(breaks=breaks, at=at, times=times, **fields))

    async def drop(self, times: int = 1) -> None:
        """Close the connection of the next requests without any answer."""
        await self.call("fault", match="POST /v1/chat/completions", times=times, drop=True)

    async def release(self, match: str = "") -> int:
        """Let answers go on that stop at `wait_at`, as soon as one has; how many did."""
        return int(await self.until(lambda: self.call("release", match=match)))

    # ── what kind of server it is ─────────────────────────────────────────────────────────────
    async def pace(self, *, rate: float = 200.0, first_delay: float = 0.02) -> None:
        """Tokens per second (0: all at once) and seconds to the first, unless an answer says."""
        await self.call("pace", rate=rate, first_delay=first_delay)

    async def dialect(self, **fields: Any) -> None:
        """Frame the streams as some compatible server does; `fields` as in `Dialect`."""
        await self.call("dialect", **dataclasses.asdict(Dialect(**fields)))

    async def key(self, *keys: str) -> None:
        """Ask for one of these keys; with none, ask for no key."""
        await self.call("key", keys=list(keys))

    async def models(
        self, *known: str, reasoning: tuple[str, ...] = (), strict: tuple[str, ...] = ()
    ) -> None:
        """Know these models; `reasoning` ones refuse `max_tokens` and temperatures but 1, `strict`
        ones messages that do not alternate."""
        await self.call("models", known=list(known), reasoning=list(reasoning), strict=list(strict))

    async def context(self, tokens: int | None) -> None:
        """Refuse requests of more tokens than these, as `count_tokens` counts them."""
        await self.call("context", tokens=tokens)

    async def flavour(self, kind: str) -> None:
        """Be "openai" or "huggingface": how errors look, and whether `model:provider` is known."""
        await self.call("flavour", kind=kind)

    async def reset(self) -> None:
        """Forget scripts, pace, dialect, keys, models, context, flavour; keep the records."""
        await self.call("reset")

    # ── what it saw ───────────────────────────────────────────────────────────────────────────
    async def streams(self, since: int = 0, match: str = "") -> list[Record]:
        """What became of each completion request whose messages contain `match`, oldest first."""
        found = [Record(**fields) for fields in await self.call("streams", since=since)]
        return [record for record in found if match in str(record.body.get("messages"))]

    async def last(self, match: str = "") -> Record:
        """The newest completion request; AssertionError when there is none."""
        found = await self.streams(match=match)
        assert found, f"no request for a completion with {match!r}"
        return found[-1]

    async def ended(self, n: int = -1, seconds: float = 20.0) -> Record:
        """The nth completion request once its response has ended, in whatever way."""

        async def check() -> Record | None:
            found = await self.streams()
            there = found if n < 0 else found[n : n + 1]
            return there[-1] if there and there[-1].outcome != "open" else None

        record: Record = await self.until(check, seconds)
        return record
