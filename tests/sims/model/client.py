"""`ModelSim`: runs the simulated model server in a separate process, with typed controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tests.sims.kit import Sim, SimProcess
from tests.sims.model.answers import Answer
from tests.sims.model.encoder import Dialect
from tests.sims.model.player import Record
from tests.sims.model.speech import Recording, Speech


class ModelSim(SimProcess):
    """The model server as an async context manager; `Answer` and `Dialect` document the fields.

    The newest script is tried first. Without one, the answer repeats the last message and counts
    the messages. By default the models are `sim`, `sim-2` and `org/sim`, and no key is required.
    """

    def __init__(self, *, port: int = 0, rtt: float = 0.0, apart: bool = False) -> None:
        super().__init__("tests.sims.model", port=port, rtt=rtt, apart=apart)

    def new_server(self) -> Sim:
        """See `SimProcess.new_server`."""
        from tests.sims.model.server import ModelServer  # a client alone needs no server

        return ModelServer(rtt=self.rtt)

    @property
    def base_url(self) -> str:
        """The value for `OPENAI_BASE_URL` and `HF_BASE_URL`."""
        return f"{self.url}/v1"

    # ── answers ───────────────────────────────────────────────────────────────────────────────
    async def script(self, *answers: Answer) -> None:
        """Put answers in front of the existing ones, in this order."""
        await self.call("script", answers=[dataclasses.asdict(answer) for answer in answers])

    async def say(self, text: str | list[str], **fields: Any) -> None:
        """Answer with a text (split into tokens) or with these chunks; `fields` as in `Answer`."""
        if isinstance(text, str):
            await self.script(Answer(text=text, **fields))
        else:
            await self.script(Answer(chunks=text, **fields))

    async def refuse(self, fault: str, *, times: int | None = 1, **fields: Any) -> None:
        """Fail the next requests; `fault` is a name in `error_responses`, e.g. "rate_limited"."""
        await self.script(Answer(fault=fault, times=times, **fields))

    async def break_off(
        self, breaks: str, *, at: int = 1, times: int | None = 1, **fields: Any
    ) -> None:
        """Break the next answers at token `at`; `breaks` as in `Answer`."""
        await self.script(Answer(breaks=breaks, at=at, times=times, **fields))

    async def drop(self, times: int = 1, *, path: str = "chat/completions") -> None:
        """Close the connection of the next requests without a response."""
        await self.call("fault", match=f"POST /v1/{path}", times=times, drop=True)

    async def release(self, match: str = "") -> int:
        """Wait until answers pause at `wait_at`, and resume them; returns how many."""
        return int(await self.until(lambda: self.call("release", match=match)))

    async def speak(self, *speeches: Speech) -> None:
        """Put transcripts in front of the existing ones, in this order."""
        await self.call("speech", speeches=[dataclasses.asdict(speech) for speech in speeches])

    # ── kind of server ────────────────────────────────────────────────────────────────────────
    async def pace(self, *, rate: float = 200.0, first_delay: float = 0.02) -> None:
        """Set the default tokens per second (0: all together) and seconds to the first token."""
        await self.call("pace", rate=rate, first_delay=first_delay)

    async def dialect(self, **fields: Any) -> None:
        """Frame streams like some compatible server; `fields` as in `Dialect`."""
        await self.call("dialect", **dataclasses.asdict(Dialect(**fields)))

    async def key(self, *keys: str) -> None:
        """Require one of these keys; without arguments, require none."""
        await self.call("key", keys=list(keys))

    async def models(
        self, *known: str, reasoning: tuple[str, ...] = (), strict: tuple[str, ...] = ()
    ) -> None:
        """Set the models. `reasoning` ones reject `max_tokens` and a temperature other than 1,
        `strict` ones reject messages whose roles do not alternate."""
        await self.call("models", known=list(known), reasoning=list(reasoning), strict=list(strict))

    async def efforts(
        self,
        *,
        plain: tuple[str, ...] = (),
        values: Mapping[str, Sequence[str]] | None = None,
        verified: bool = True,
    ) -> None:
        """Set which models take no effort (`plain`), and which take only some `values` of it.

        An organization that is not `verified` gets no summaries of reasoning.
        """
        limited = {model: list(known) for model, known in (values or {}).items()}
        await self.call("efforts", plain=list(plain), values=limited, verified=verified)

    async def tokenizer(self, tables: str | None) -> None:
        """Count with the tables of a `tokenizer.json`; None counts cheaply, as `count_tokens`."""
        await self.call("tokenizer", tables=tables)

    async def pass_time(self, seconds: float) -> None:
        """Age the prompt caches without waiting."""
        await self.call("pass_time", seconds=seconds)

    async def images(self, *, blind: Mapping[str, str] | None = None, limit: int = 500) -> None:
        """Set which models take no images, and how many images the others take in a request.

        `blind` has the form of each such model's refusal: a key of `tests.sims.model.images.BLIND`.
        """
        await self.call("images", blind=dict(blind or {}), limit=limit)

    async def context(self, tokens: int | None) -> None:
        """Set the context window, in tokens as `count_tokens` counts; None removes the limit."""
        await self.call("context", tokens=tokens)

    async def flavor(self, kind: str) -> None:
        """Behave like "openai" or "huggingface": the form of errors, and `model:provider` names."""
        await self.call("flavor", kind=kind)

    async def reset(self) -> None:
        """Reset everything but the records to its default."""
        await self.call("reset")

    # ── observations ──────────────────────────────────────────────────────────────────────────
    async def streams(self, since: int = 0, match: str = "") -> list[Record]:
        """The records of requests for answers whose messages contain `match`, oldest first."""
        found = [Record(**fields) for fields in await self.call("streams", since=since)]
        return [record for record in found if match in str(record.messages)]

    async def last(self, match: str = "") -> Record:
        """The newest completion request; raises AssertionError if there is none."""
        found = await self.streams(match=match)
        assert found, f"no completion request with {match!r}"
        return found[-1]

    async def recordings(self, since: int = 0) -> list[Recording]:
        """The requests for transcripts, oldest first."""
        return [Recording(**fields) for fields in await self.call("recordings", since=since)]

    async def forget_bodies(self) -> None:
        """Forget the bodies of all requests so far: every query for the records transfers them."""
        await self.call("forget_bodies")

    async def wait_ended(self, n: int = -1, seconds: float = 60.0) -> Record:
        """Wait for the response to the nth completion request to end, in any way."""

        async def check() -> Record | None:
            found = await self.streams()
            chosen = found if n < 0 else found[n : n + 1]
            return chosen[-1] if chosen and chosen[-1].outcome != "open" else None

        record: Record = await self.until(check, seconds)
        return record
