"""Writes the report of a comparison: one HTML file that loads nothing and runs nothing.

Its Content-Security-Policy allows only the one style that it contains. `render` turns a model's
Markdown into safe HTML; every other text is escaped here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from difflib import SequenceMatcher
from html import escape

from bot.domain import evaluation_texts as texts
from bot.domain.evaluation import Answer, Case
from bot.domain.feedback import Vote
from bot.domain.money import USD, Currency
from bot.evaluation.summary import Pair, Side, side_of, votes

Render = Callable[[str], str]

MOST_COMPARED = 3_000
"""The most words in two answers together, because the comparison takes quadratic time."""

_WORDS = re.compile(r"\s+|[^\s]+")
_STYLE = """
:root{color-scheme:light dark;--edge:#8885;--soft:#777}
body{font:15px/1.55 system-ui,sans-serif;max-width:80rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.5rem}h2{font-size:1.05rem;margin:0 0 .5rem}
table{border-collapse:collapse}th,td{padding:.3rem .8rem;border-bottom:1px solid var(--edge);
text-align:start;vertical-align:top}
.case{border-top:2px solid var(--edge);padding:1.2rem 0}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}
.sides>div,.question{min-width:0;overflow-wrap:anywhere}
@media(max-width:50rem){.sides{grid-template-columns:1fr}}
.question{border-inline-start:3px solid var(--edge);padding-inline-start:.8rem;white-space:pre-wrap;
margin:0 0 .8rem}
.soft{color:var(--soft);font-size:.85rem}.error{color:#c33}
pre{overflow:auto}ins{background:#2a62;text-decoration:none}del{background:#c333}
.diff{white-space:pre-wrap}
"""


def build_report(
    pairs: Sequence[Pair], *, model: str, prompt: str, render: Render, currency: Currency = USD
) -> str:
    """Build the whole file. `prompt` describes the system prompt of the new answers."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{texts.TITLE}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{texts.TITLE}</h1>",
            f"<p>{escape(model)} · {escape(prompt)}</p>",
            *_summary(pairs, currency),
            *(_section(number, pair, render, currency) for number, pair in enumerate(pairs, 1)),
            "</body></html>\n",
        )
    )


def _summary(pairs: Sequence[Pair], currency: Currency) -> Iterator[str]:
    old = _figures(side_of([case.reply for case, _ in pairs]), currency)
    new = _figures(side_of([answer for _, answer in pairs]), currency)
    yield f"<table><thead><tr><th></th><th>{texts.OLD}</th><th>{texts.NEW}</th></tr></thead><tbody>"
    for name, *values in zip(texts.ROWS, old, new, strict=True):
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        yield f"<tr><th>{escape(name)}</th>{cells}</tr>"
    yield "</tbody></table>"
    counted = votes(case for case, _ in pairs)
    signs = "  ".join(f"{texts.VOTE_SIGNS[vote]} {count}" for vote, count in counted.items())
    yield f"<p>{signs}</p>"


def _figures(side: Side, currency: Currency) -> tuple[str, ...]:
    cost = currency.show(side.cost) if side.answers > side.unpriced else "–"
    return (
        side.models or "–",
        f"{side.answers:,}",
        f"{side.failed:,}",
        f"{side.input_tokens:,}",
        f"{side.output_tokens:,}",
        cost + (f" ({side.unpriced:,} without a price)" if side.unpriced and cost != "–" else ""),
        " · ".join(map(_seconds, side.first_token)),
        " · ".join(map(_seconds, side.total)),
    )


def _section(number: int, pair: Pair, render: Render, currency: Currency) -> str:
    case, answer = pair
    at = datetime.fromtimestamp(case.at, UTC)
    ratings = "".join(_rating(each.vote, each.comment) for each in case.ratings)
    left_out = texts.attachments_left_out(case.attachments) if case.attachments else ""
    about = " · ".join(filter(None, (f"{at:%Y-%m-%d %H:%M} UTC", *case.place[:1], left_out)))
    question = "\n\n".join(case.asked)
    old, new = (_side(each, render, currency) for each in (case.reply, answer))
    return "\n".join(
        (
            f'<section class="case"><h2>{number}</h2><p class="soft">{escape(about)}</p>',
            f'<div class="question">{escape(question)}</div>',
            f'<div class="sides"><div><h2>{texts.OLD}</h2>{old}{ratings}</div>',
            f"<div><h2>{texts.NEW}</h2>{new}</div></div>",
            f"<details><summary>{texts.CHANGES}</summary>{_changes(case, answer)}</details>",
            "</section>",
        )
    )


def _side(answer: Answer, render: Render, currency: Currency) -> str:
    usage = answer.usage
    tokens = "" if usage is None else f"{usage.input_tokens:,} → {usage.output_tokens:,} tokens"
    cost = "" if answer.cost is None else currency.show(answer.cost)
    first = answer.first_token_seconds
    times = [_seconds(each) for each in (first, answer.seconds) if each is not None]
    about = " · ".join(filter(None, (answer.model, tokens, cost, " / ".join(times))))
    error = f'<p class="error">{escape(answer.error)}</p>' if answer.error else ""
    body = render(answer.text) if answer.text else f"<p>{texts.NO_ANSWER}</p>"
    return f'{body}{error}<p class="soft">{escape(about)}</p>'


def _rating(vote: Vote, comment: str) -> str:
    return f"<p>{texts.VOTE_SIGNS[vote]} {escape(comment)}</p>"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


# ── changes ───────────────────────────────────────────────────────────────────────────────────
def _changes(case: Case, answer: Answer) -> str:
    old, new = _WORDS.findall(case.reply.text), _WORDS.findall(answer.text)
    if len(old) + len(new) > MOST_COMPARED:
        return f"<p>{texts.TOO_LONG}</p>"
    parts = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return f'<p class="diff">{"".join(_part(part, old, new) for part in parts)}</p>'


def _part(part: tuple[str, int, int, int, int], old: list[str], new: list[str]) -> str:
    kind, *bounds = part
    before, after = (
        escape("".join(old[slice(*bounds[:2])])),
        escape("".join(new[slice(*bounds[2:])])),
    )
    if kind == "equal":
        return before
    return (f"<del>{before}</del>" if before else "") + (f"<ins>{after}</ins>" if after else "")
