"""A reply that grows in the terminal: no output is taken back, and no text is lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.console.growing import GrowingReply
from bot.replies.markdown.mend import mend

STYLES = re.compile(r"\x1b\[[0-9;]*m")
DOCUMENT = """\
# Title of it

Some **bold** and *italic* text,
with `code` in it.

```python
def f(x):
    '''A text
    in three lines.'''
    return x
```

| a | long title |
|---|-----------:|
| 1 | **two** |

- one
- two

    indented = code

~~~
without a language
~~~
## The end"""

BLOCKS = st.sampled_from(
    [
        "# A *title*", "**bold** text", "a `b` c", "```py\nx = '''\ny\n'''\n```", "```\nz\n```",
        "| a | b |\n|---|---|\n| 1 | 2 |", "| a |\n|---|", "- one\n- two", "> quoted", "    code",
        "```sql\nSELECT '1", "~~~md\n# t\n```\nx\n```\n~~~",
        "1. x\n   ```js\n   /* a\n   b */\n   ```",
        "a | b", "---", "text\n## Title\nmore", "**open", "`open", "|", "#", "",
    ]
)  # fmt: skip


def plain(text: str) -> str:
    return STYLES.sub("", text)


def letters(text: str) -> str:
    return re.sub(r"[\s|:*_`~#─-]", "", plain(text))


def grow(document: str, step: int = 1) -> str:
    """Render the settled part of every prefix, then the whole; returns the last rendering."""
    reply, shown = GrowingReply(), ""
    for end in range(0, len(document), step):
        begun = document[:end]
        now = reply.begun(begun[: mend(begun).stable_end].rstrip())
        assert now.startswith(shown), (begun, shown, now)
        shown = now
    whole = reply.whole(document)
    assert whole.startswith(shown), (document, shown, whole)
    assert reply.whole(document) == whole, "the same again changes nothing"
    return whole


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_every_kind_of_block_is_shown(step: int) -> None:
    shown = grow(DOCUMENT, step)
    assert "\x1b[1;36m# Title of it\x1b[22;39m\n" in shown
    assert "\x1b[1mbold\x1b[22m" in shown
    assert "\x1b[2m```python\x1b[22m\n" in shown and "\x1b[94mreturn\x1b[39;49;00m" in shown
    assert re.search(r"^ ?a +long title$", plain(shown), re.MULTILINE)
    assert re.search(r"^ ?1 +two$", plain(shown), re.MULTILINE), "columns are aligned"
    assert plain(shown).endswith("~~~\nwithout a language\n~~~\n## The end")


def test_code_appears_line_by_line_before_its_block_ends() -> None:
    reply = GrowingReply()
    assert "x" not in plain(reply.begun("```py\nx = 1"))
    assert plain(reply.begun("```py\nx = 1\ny")) == "```py\nx = 1\n"


def test_an_open_string_colours_the_lines_below_it() -> None:
    begun = "```py\nx = '''\nreturn\n"
    assert "\x1b[94mreturn" not in GrowingReply().whole(begun + "'''\n```")


def test_another_beginning_starts_over() -> None:
    reply = GrowingReply()
    reply.whole("First.\n\nSecond.")
    assert reply.whole("Other.") == "Other."


@settings(max_examples=150, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=5), st.sampled_from(["\n", "\n\n"]))
def test_output_only_grows_and_loses_nothing(blocks: list[str], between: str) -> None:
    document = between.join(blocks)
    assert letters(grow(document)) == letters(document)
