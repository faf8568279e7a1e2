"""A compactor between a history in memory and a scripted model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from bot.context.compaction import Compactor
from bot.context.segments import WindowUse
from bot.domain.attachments import Attachment, AttachmentState, Extract
from bot.domain.context import ContextState, Summary, TokenCount
from bot.domain.conversations import Author, Conversation, ConversationKey, Message, Role
from bot.domain.errors import ModelError, StoreUnavailable
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest, Delta, ModelFacts, Usage
from bot.domain.tokens import count_tokens, message_tokens
from bot.domain.turns import Claim, Fence, Question

ANN, BEN = Author("U1", "Ann"), Author("U2", "Ben")
FACT = "FACT"


def note_facts(request: ChatRequest) -> str:
    """The lines containing FACT in a request for a summary, as an obedient model notes them."""
    lines = [line.lstrip("> ") for line in request.messages[-1].content.splitlines()]
    facts = dict.fromkeys(line for line in lines if FACT in line)
    return "<notes>\n" + "\n".join(facts or ["Small talk."]) + "\n</notes>"


Piece = Delta | ModelError | asyncio.Event


@dataclass
class Summarizer:
    """A model that answers each request with `answer`: a text, or pieces of a stream.

    If a piece is an event, the stream waits for it.
    """

    name: str = "summarizer"
    sees: bool | None = None
    facts: ModelFacts = field(default_factory=ModelFacts)
    answer: Callable[[ChatRequest], str | Sequence[Piece]] = note_facts
    finish_reason: str = "stop"
    requests: list[ChatRequest] = field(default_factory=list)
    open: int = 0  # streams open now
    most_open: int = 0

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        self.requests.append(request)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            answer = self.answer(request)
            pieces = [Delta(answer, model=self.name)] if isinstance(answer, str) else answer
            for piece in pieces:
                if isinstance(piece, ModelError):
                    raise piece
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                    continue
                yield piece
                if piece.finish_reason is not None:
                    return
                await asyncio.sleep(0)
            tokens = sum(map(message_tokens, request.messages))
            yield Delta(finish_reason=self.finish_reason, usage=Usage(tokens, 20))
        finally:
            self.open -= 1

    async def check(self) -> Finding:
        return Finding(self.name, Verdict.OK, "")

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class Memory:
    """A conversation's messages, attachments, window and summary, as the store keeps them."""

    messages: list[Message] = field(default_factory=list)
    attachments: dict[int, list[Attachment]] = field(default_factory=dict)
    extracts: dict[str, Extract] = field(default_factory=dict)
    state: ContextState = field(default_factory=ContextState)
    epoch: int = 1
    reads: int = 0
    fault: StoreUnavailable | None = None

    # ── people ────────────────────────────────────────────────────────────────────────────────
    def say(self, text: str, *, author: Author | None = ANN, attached: bool = False) -> Message:
        """Add a message; one without an author is an answer."""
        role = Role.ASSISTANT if author is None else Role.USER
        number = len(self.messages)
        message = Message(role, text, author, number, number + 1, has_attachments=attached)
        self.messages.append(message)
        return message

    def converse(self, turns: int, *, size: int = 30) -> None:
        """Add turns of a question and an answer, each of about `size` tokens."""
        for _ in range(turns):
            number = len(self.messages)
            self.say(f"question {number} ".ljust(3 * size, "q"))
            self.say(f"answer {number + 1} ".ljust(3 * size, "a"), author=None)

    def edit(self, index: int, text: str) -> None:
        """Edit a message. As the database's triggers do, drop a summary that covers it."""
        self.messages[index] = replace(self.messages[index], content=text)
        summary = self.state.summary
        kept = None if summary is not None and summary.before > index else summary
        self.state = replace(self.state, summary=kept, revision=self.state.revision + 1)

    def attach(self, name: str, *, extract: Extract | None = None, **more: Any) -> None:
        """Attach a file to the newest message."""
        message = self.messages[-1]
        self.messages[-1] = replace(message, has_attachments=True)
        files = self.attachments.setdefault(message.id, [])
        digest = f"digest of {name}" if extract is not None else None
        if extract is not None and digest is not None:
            self.extracts[digest] = extract
        values: dict[str, Any] = {"locator": {}, "state": AttachmentState.READY, **more}
        files.append(
            Attachment(
                id=len(files) + 1,
                uid="",
                message=message.id,
                number=len(files),
                name=name,
                media_type="",
                size=1_000,
                digest=digest,
                **values,
            )
        )

    def claim(self, *, conversation: int = 1) -> Claim:
        """The claim of the newest turn, whose question is the second to last message."""
        asked = self.messages[-2]
        assert asked.author is not None
        question = Question(asked.id, "c1", f"m{asked.id}", asked.author, asked.content)
        key = ConversationKey("sim", "w1", "c1", f"t{conversation}")
        return Claim(
            fence=Fence(conversation, 1),
            conversation=Conversation(conversation, key, "", None, self.epoch, 0.0, 0.0),
            questions=(question,),
            reply_index=self.messages[-1].index,
            epoch=self.epoch,
        )

    def use(self, budget: int) -> WindowUse:
        """How full the window is, with all messages from its start."""
        summary = self.state.summary.text if self.state.summary is not None else ""
        kept = self.messages[self.state.start :]
        tokens = sum(map(message_tokens, kept)) + count_tokens(summary)
        return WindowUse(budget=budget, tokens=tokens, start=self.state.start)

    # ── the store ─────────────────────────────────────────────────────────────────────────────
    async def history(
        self, conversation: int, *, epoch: int, before: int, limit: int
    ) -> Sequence[Message]:
        found = [each for each in self.messages if each.index < before]
        return found[::-1][:limit]

    async def history_from(
        self, conversation: int, *, epoch: int, start: int, before: int, limit: int
    ) -> Sequence[Message]:
        self.reads += 1
        return [each for each in self.messages if start <= each.index < before][:limit]

    async def of_messages(self, ids: Sequence[int]) -> Mapping[int, Sequence[Attachment]]:
        return {each: self.attachments[each] for each in ids if each in self.attachments}

    async def read_extract(self, digest: str) -> Extract | None:
        return self.extracts.get(digest)

    async def read_state(self, conversation: int, *, epoch: int, model: str) -> ContextState:
        if self.fault is not None:
            raise self.fault
        return self.state

    async def move_window(
        self, conversation: int, *, epoch: int, start: int, stubs_before: int
    ) -> None:
        raise NotImplementedError("the summary moves the window")

    async def save_summary(
        self, conversation: int, *, epoch: int, revision: int, summary: Summary
    ) -> bool:
        if (epoch, revision) != (self.epoch, self.state.revision):
            return False
        start = max(summary.before, self.state.start)
        self.state = replace(self.state, summary=summary, start=start)
        return True

    async def token_counts(self, model: str, *, limit: int) -> Sequence[TokenCount]:
        return ()


def compactor_of(memory: Memory, model: Summarizer | None, **options: Any) -> Compactor:
    """A compactor on `memory`, whose models take requests of 16,000 tokens."""
    values: dict[str, Any] = {
        "summarizer": lambda *_: model,
        "budget": lambda _: 16_000,
        **options,
    }
    store = cast(Any, memory)
    return Compactor(store=store, contexts=memory, attachments=store, **values)


async def idle(compactor: Compactor) -> None:
    """Wait until nothing is being summarized."""
    async with asyncio.timeout(30):
        while compactor.busy:
            await asyncio.sleep(0)


async def end_turn(
    compactor: Compactor, memory: Memory, *, budget: int, conversation: int = 1
) -> None:
    """End the newest turn, and wait for the summary if it is due."""
    compactor.turn_ended(memory.claim(conversation=conversation), memory.use(budget))
    await idle(compactor)
