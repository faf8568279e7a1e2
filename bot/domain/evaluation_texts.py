"""The output of the commands `export feedback` and `eval`, and the wording of their report."""

from __future__ import annotations

from bot.domain.money import Currency

TITLE = "Old and new answers"
NO_CASES = "There is no reply to replay."
ASK = "Continue? [y/N] "
NOT_CONFIRMED = "Nothing was sent. Use --yes to continue without being asked."
OVERWRITES_SOURCE = "it would overwrite FILE: name another report"
NEEDS_SOURCE = "name a file of `threadline export feedback`, or use --last 7d"
BAD_TIME = "write a number of days or hours, such as 7d or 24h, or a date, such as 2026-11-30"
OWN_PROMPTS = "the prompts of the settings and profiles"
NO_ANSWER = "No answer."
CHANGES = "Changes, word by word"
TOO_LONG = "The answers are too long to be compared word by word."
OLD, NEW = "Then", "Now"
VOTE_SIGNS = {"up": "👍", "down": "👎"}
ROWS = (
    "Model",
    "Answers",
    "Failed",
    "Input tokens",
    "Output tokens",
    "Cost",
    "First text, median and 95 %",
    "Whole answer, median and 95 %",
)


def estimate(
    requests: int, model: str, tokens: tuple[int, int], cost: int | None, currency: Currency
) -> str:
    """The expected size and cost of a replay; `tokens` are input and output tokens."""
    asked, said = tokens
    price = "a price that is not known" if cost is None else f"about {currency.show(cost)}"
    noun = "request" if requests == 1 else "requests"
    return (
        f"{requests:,} {noun} to {model}: about {asked:,} tokens of input and {said:,} of output, "
        f"for {price}."
    )


def kept(count: int) -> str:
    """The number of answers reused from an earlier run."""
    noun = "answer of an earlier run is" if count == 1 else "answers of an earlier run are"
    return f"{count:,} {noun} kept."


def progress(done: int, count: int) -> str:
    """The progress of a replay."""
    return f"{done:,} of {count:,}"


def written(path: str, failed: int) -> str:
    """Say where the report was written."""
    note = f"; {failed:,} failed, and the same command tries these again" if failed else ""
    return f"The report is {path}{note}."


def attachments_left_out(count: int) -> str:
    """Note that a case had files, which are not replayed."""
    noun = "file or link is" if count == 1 else "files and links are"
    return f"{count:,} {noun} not part of the replay."
