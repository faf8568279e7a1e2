"""The demo model's answers: a few texts that show what replies can contain."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bot.domain import texts
from bot.domain.conversations import Message, Role

MOST_REMEMBERED = 10
"""The most earlier questions that an answer lists."""

QUOTED_CHARACTERS = 120
"""The most characters of a question that an answer quotes."""


class Answer(NamedTuple):
    """A scripted answer. `is_whole`: nothing is left for `continue`."""

    text: str
    is_whole: bool = True


def answer(said: Sequence[Message]) -> Answer:
    """The answer to the last message of a conversation, without the system prompt."""
    question = said[-1] if said else Message(Role.USER, "")
    if texts.GO_ON in question.content:
        return _go_on(said)
    for pattern, make in _ANSWERS:
        if pattern.search(question.content):
            return make(said)
    return _unknown(question)


# ── the conversation ──────────────────────────────────────────────────────────────────────────
def _remember(said: Sequence[Message]) -> Answer:
    earlier = [each for each in said[:-1] if each.role is Role.USER]
    if not earlier:
        return Answer(
            "Nothing yet: this is your first question in this thread. Ask something else, and then "
            "ask me again. Each thread has a separate memory, and `/reset` starts it over."
        )
    listed = [f"{k}. {_quote(each.content)}" for k, each in enumerate(earlier, 1)]
    left = len(listed) - MOST_REMEMBERED
    more = [f"… and before that {left} more."] if left > 0 else []
    lines = "\n".join([*listed[-MOST_REMEMBERED:], *more])
    return Answer(
        f"In this thread you wrote:\n\n{lines}\n\nA real model gets the whole thread with each "
        "question, too. `/reset` starts it over, and `/context` shows what the model gets."
    )


def _go_on(said: Sequence[Message]) -> Answer:
    """The rest of the long answer, if the last answer is its beginning."""
    shown = next((each.content for each in reversed(said) if each.role is Role.ASSISTANT), "")
    start = shown.rstrip()[-40:]
    at = _LONG.find(start) if start else -1
    if at < 0:
        return Answer("My last answer was complete. " + SUGGESTIONS)
    return Answer(_LONG[at + len(start) :].lstrip())


def _unknown(question: Message) -> Answer:
    images = f" and {len(question.parts)} image(s)" if question.parts else ""
    asked = _quote(question.content)
    return Answer(
        f"I got your question{images}:\n\n> {asked}\n\nI am the **demo model**: my answers are "
        f"scripted, so I cannot answer this one. {SUGGESTIONS}"
    )


def _quote(text: str) -> str:
    """The first words of a text, on one line, as plain text."""
    line = " ".join(text.split())
    short = line if len(line) <= QUOTED_CHARACTERS else line[:QUOTED_CHARACTERS].rstrip() + "…"
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", short) or "…"


# ── the texts ─────────────────────────────────────────────────────────────────────────────────
SUGGESTIONS = """Try one of these:

- *What can you do?*
- *Explain a race condition, in Python*
- *Tell me a long story*, then press **Stop**, and **Go on**
- *What did I ask before?*
- *How do I connect a model?*
"""

_ABOUT = f"""I am the **demo model**. My answers are scripted; everything around them is real:

| you do | what happens |
|---|---|
| mention the bot in a channel | it answers in a thread, word by word |
| write in the thread | it continues, and remembers what was said |
| press **Stop** | the answer ends; **Go on** continues it |
| edit your question | it is answered again, in the same place |
| attach a file, or paste a link | the model reads it |
| write `/reset` | the thread starts over; **Undo** brings it back |

It is the same in Discord, in Slack, on this page and in the terminal. {SUGGESTIONS}"""

_RACE = """\
A **race condition** is a fault whose result depends on who comes first. Two threads read a value, \
both add to it, and one addition is lost:

```python
import threading

count = 0

def work():
    global count
    for _ in range(100_000):
        value = count      # both threads may read the same number …
        count = value + 1  # … and then write the same result

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(count)  # up to 200,000, often less
```

A lock makes *read, add, write* one step:

```python
lock = threading.Lock()

def work():
    global count
    for _ in range(100_000):
        with lock:
            count += 1
```

Three ways out, from the simplest:

1. **Do not share**: give each thread a separate count, and add them at the end.
2. **One owner**: only one thread changes the value; the others send it messages.
3. **A lock**, held as briefly as possible.
"""

_CONNECT = """**Connect a model**, below the page's channel, finds a server on this machine or \
takes a key, tries it and uses it; `threadline setup` does the same in a terminal. Or put two \
lines into the file `.env` next to the program:

| provider | lines in `.env` |
|---|---|
| OpenAI | `LLM=openai/gpt-5-mini` and `OPENAI_API_KEY=…` |
| Anthropic | `LLM=anthropic/claude-sonnet-5` and `ANTHROPIC_API_KEY=…` |
| Google | `LLM=gemini/gemini-3.8-flash` and `GEMINI_API_KEY=…` |
| Ollama, on this machine | `LLM=ollama/llama3.1` |

`make doctor` then tries the model with a real call and says what is missing. For Discord and \
Slack set their tokens in the same file; the README has each in five steps.
"""

_LONG_WRAPPED = """\
## The message that arrived twice

On a Monday at nine, a hundred people wrote to the same bot. This is what happened to one of them.

**The first second.** Mira mentioned the bot in *#ops* and asked why the nightly job had failed.
Her message reached the bot over a connection that had been open since Friday. Before the bot said
anything, it wrote her question down, and waited until the disk had it. Only then did it tell the
platform: *I have it*. That order matters. A bot that says so first, and writes afterwards, loses
every question that was on its way when the power failed.

**The second second.** The platform had not heard the answer in time, so it sent the message
again. The bot looked at the message's number, found it in its book, and did nothing. Mira never
knew.

**The third second.** Her question had a file with it, a log of two megabytes. A small helper
without any rights opened the file, because files of strangers can be traps, and took the last
lines of it, because those are the ones that matter. At the same time the bot opened a thread
below her message.

**The fourth second.** The model began to write. It wrote fifty times a second, and the platform
allowed the bot to change its message about once a second. So the bot did not queue the changes.
It kept only the newest text, and each time it was its turn it showed all of it. Ninety-nine other
answers were growing at the same moment, and each of them got its turn, the oldest unseen text
first.

**The seventh second.** Someone pulled the wrong plug.

## What the book was for

The machine came back after forty seconds. There was half an answer in the thread, and no one who
remembered it. The bot opened its book, and found three lines about Mira: the question, the turn
that was to answer it, and the number of the message that it had begun to write. It asked the
model again, and changed that same message, so that there was one answer, not one and a half.

**The ninth minute.** Mira had read the answer and wrote below it: *and how do I prevent that?*
She did not explain what *that* was. The bot sent the model the whole thread, and the model knew.

**The tenth minute.** A colleague asked in another thread what Mira had found out. The bot did not
know: words from one thread never appear in another.

**The eleventh minute.** Mira pressed the button with the square, because she had read enough. The
answer stopped in the middle of a sentence, and stayed there, marked. Later she pressed *Go on*,
and it went on in the middle of the sentence.

So the message that arrived twice was answered once. That is most of what a good assistant in a
channel has to do: write things down, in the right order, and then keep its word.
"""
_LONG = re.sub(r"(?<!\n)\n(?!\n|$)", " ", _LONG_WRAPPED)  # Discord shows line breaks as they are
_HALF = _LONG.index("## What the book was for")

_ANSWERS: tuple[tuple[re.Pattern[str], Callable[[Sequence[Message]], Answer]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), make)
    for pattern, make in (
        (r"\brace condition|\bcode\b|\bpython\b", lambda _said: Answer(_RACE)),
        (r"\b(did|have) i (ask|say|write)|\bask(ed)? before|\bremember\b", _remember),
        (r"\b(connect|set up|install|configure)\b|\bapi key\b", lambda _said: Answer(_CONNECT)),
        (r"\b(long|story|essay|tale)\b", lambda _said: Answer(_LONG[:_HALF], is_whole=False)),
        (r"\bwh(at can|at do|o are) you\b|\bhelp\b", lambda _said: Answer(_ABOUT)),
    )
)
