"""A growing reply on the page: after each change, it looks as the whole text would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from adapters.web.growing_html import GrowingHtml
from adapters.web.reply_changes import ReplyView, changes
from tests.support.browser import House, Visitor, needs_browser
from tests.support.growing_documents import LONG, PLAIN, document

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

PARTS = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const [growth, body, whole] = [new Growth(), new Body(), new Body()];
  const column = document.querySelector("#channel .column");
  column.append(body.node, whole.node);
  column.closest("[hidden]")?.removeAttribute("hidden");
  const shape = (node) => { const copy = node.cloneNode(true); copy.normalize(); return copy; };
  const height = (node) => node.getBoundingClientRect().height;
  body.show(growth.begin(first).blocks, true);
  const words = body.node.querySelector("p, td").firstChild;
  getSelection().setBaseAndExtent(words, 0, words, 4);
  let most = 0;
  for (const [change] of steps) {
    body.show(growth.follow(change).blocks, true);
    const ends = [...body.node.querySelectorAll("tbody, p")];
    const own = [...ends.at(-1).childNodes].filter((node) => node.className !== "part");
    most = Math.max(most, own.reduce((sum, node) => sum + node.textContent.length, 0));
  }
  whole.show(steps.at(-1)[1], true);
  const found = { most, high: height(whole.node) };
  found.text = body.node.textContent === whole.node.textContent;
  found.parts = body.node.querySelectorAll("tbody, .part").length;
  for (const each of body.node.querySelectorAll("tbody")) each.style.contentVisibility = "visible";
  found.higher = height(body.node) - height(whole.node);
  for (const each of [body, whole]) each.show(steps.at(-1)[1], false);
  found.same = shape(body.node).isEqualNode(shape(whole.node));
  found.selected = String(getSelection());
  body.node.remove();
  whole.node.remove();
  return found;
}"""

RESIZED = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const [growth, body, whole] = [new Growth(), new Body(), new Body()];
  document.querySelector("#channel .column").append(body.node, whole.node);
  body.show(growth.begin(first).blocks, true);
  for (const [change] of steps) body.show(growth.follow(change).blocks, true);
  whole.show(steps.at(-1)[1], false);
  const cells = (node) => [...node.querySelector("table").rows[5].cells];
  const width = (cell) => Math.round(cell.getBoundingClientRect().width);
  const widths = (node) => cells(node).map(width);
  const found = [[widths(body.node), widths(whole.node)]];
  for (const { node } of [body, whole]) node.style.width = "260px";
  for (let k = 0; k < 4; k++) await new Promise(requestAnimationFrame);
  found.push([widths(body.node), widths(whole.node)]);
  found.push(body.node.querySelectorAll("[data-long]").length);
  body.node.remove();
  whole.node.remove();
  return found;
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


async def test_a_long_block_grows_in_parts_and_is_whole_at_its_end(
    visit: Visit, house: House
) -> None:
    """Only the last part grows, every line stays where it was, and the selection survives."""
    tab = await (await visit(house)).tab()
    for kind, text in LONG.items():
        found = await tab.page.evaluate(PARTS, recorded(text, [31], begin=60))
        assert found["text"] and found["same"], (kind, found)
        assert found["parts"] >= 4, (kind, found)
        assert found["most"] < 5_000 < len(text), (kind, found)
        assert abs(found["higher"]) < 0.01 * found["high"], (kind, found)
        assert len(found["selected"]) == 4, (kind, found)


async def test_columns_of_a_long_table_follow_the_width_of_the_window(
    visit: Visit, house: House
) -> None:
    """The columns that a growing table keeps are those that it has as a whole."""
    tab = await (await visit(house)).tab()
    row = "|some words that may break|`more` words|12|\n"
    text = "|left|right|n|\n|-|-|-:|\n" + row * 230
    before, after, kept = await tab.page.evaluate(RESIZED, recorded(text, [97], begin=60))
    assert before[0] == before[1]
    assert after[0] == pytest.approx(after[1], abs=10)  # the cursor takes room in a cell
    assert after[0] != before[0]
    assert kept == 1
