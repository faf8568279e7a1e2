"""A growing reply on the page: after each change, it looks as the whole text would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from adapters.web.growing_html import GrowingHtml
from adapters.web.reply_changes import ReplyView, changes
from tests.support.browser import House, Visitor, needs_browser
from tests.support.growing_documents import PLAIN, document

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

FOLLOW = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const growth = new Growth();
  const [body, whole] = [new Body(), new Body()];
  document.querySelector("#channel .column").append(body.node, whole.node);
  const compared = (node) => { const copy = node.cloneNode(true); copy.normalize(); return copy; };
  body.show(growth.begin(first).blocks, true);
  const wrong = [];
  steps.forEach(([change, html], k) => {
    const reply = growth.follow(change);
    body.show(reply.blocks, k % 2 === 0);
    whole.show(html, k % 2 === 0);
    if (!compared(body.node).isEqualNode(compared(whole.node)))
      wrong.push([k, body.node.innerHTML, whole.node.innerHTML]);
  });
  body.show(steps.at(-1)[1], false); // the end of a reply comes as one text
  whole.show(steps.at(-1)[1], false);
  if (!compared(body.node).isEqualNode(compared(whole.node))) wrong.push(["end"]);
  if (growth.follow({ id: "turn-1", at: [0, 1], text: "" }) !== null) wrong.push(["base"]);
  return wrong.slice(0, 1);
}"""

PLACES = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const [growth, body] = [new Growth(), new Body()];
  document.querySelector("#channel .column").append(body.node);
  body.show(growth.begin(first).blocks, true);
  const words = [...body.node.querySelectorAll("p, td, .part")].at(0).firstChild;
  getSelection().setBaseAndExtent(words, 0, words, 4);
  let touched = 0;
  const watch = new MutationObserver((all) => { touched += all.filter(
    ({ addedNodes }) => [...addedNodes].some((node) => node.className !== "cursor")).length; });
  watch.observe(body.node, { subtree: true, childList: true });
  for (const [change] of steps) body.show(growth.follow(change).blocks, true);
  await null;
  return [String(getSelection()), words.isConnected, touched, body.node.textContent.length];
}"""


def recorded(text: str, steps: list[int], begin: int = 1) -> tuple[Any, list[Any]]:
    """A reply's first event and its changes, each with the HTML of the whole text."""
    growing, at = GrowingHtml(), min(begin, len(text))
    views = [ReplyView(0, text[:at], growing.blocks(text[:at]), "writing", False)]
    while at < len(text):
        at = min(len(text), at + steps[len(views) % len(steps)])
        blocks = growing.blocks(text[:at])
        views.append(ReplyView(len(views), text[:at], blocks, "writing", False))
    first = {"id": "turn-1", "version": 0, "text": views[0].text, "blocks": views[0].blocks}
    return first, [(changes("turn-1", one, other), other.html) for one, other in pairwise(views)]


def documents() -> Iterator[tuple[str, list[int]]]:
    for seed in range(24):
        yield document(seed), [[1], [3, 1, 8], [13, 40]][seed % 3]


async def test_after_each_change_the_page_shows_what_a_reload_would(
    visit: Visit, house: House
) -> None:
    """Tries every kind of block, cut at any character, with and without the cursor."""
    tab = await (await visit(house)).tab()
    for text, steps in documents():
        assert await tab.page.evaluate(FOLLOW, recorded(text, steps)) == [], text


async def test_existing_nodes_stay_while_a_block_grows(visit: Visit, house: House) -> None:
    """Existing nodes stay the same, so that a selection survives; only new ones are added."""
    tab = await (await visit(house)).tab()
    for kind in ("paragraph", "table", "code"):
        text = PLAIN[kind]
        first, steps = recorded(text, [7], begin=60)
        selected, connected, touched, length = await tab.page.evaluate(PLACES, [first, steps])
        assert connected, kind
        assert len(selected) == 4, kind
        assert length > 0.6 * len(text), kind
        assert touched <= 2 * text.count("|") + 2 * text.count("`") + 5, kind
