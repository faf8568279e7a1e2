"""The page's state follows the server's, whatever the network does to requests and events.

The page's own modules run in the browser against models of the server
(`tests/support/page_model.js`, `outbox_model.js`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route

from tests.support.browser import House, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

SUPPORT = Path(__file__).parents[1] / "support"
PAGE = Path(__file__).parents[2] / "adapters" / "web" / "page"

# The limit is a second. The response begins after 0.9 s, and a piece arrives each 0.9 s.
SLOW = """async ({ base, pieces }) => {
  const timers = new Map();
  let now = 0;
  globalThis.setTimeout = (work, wait) => (timers.set(work, now + wait), work);
  globalThis.clearTimeout = (timer) => timers.delete(timer);
  const pass = (milliseconds) => {
    now += milliseconds;
    for (const [work, at] of [...timers]) if (at <= now) (timers.delete(work), work());
  };
  const { Api } = await import(`${base}api.js`);
  globalThis.fetch = async (_, { signal }) => {
    pass(900);
    let left = pieces.length;
    return new Response(new ReadableStream({
      pull(controller) {
        if (signal.aborted) return controller.error(signal.reason);
        if (!left) return controller.close();
        controller.enqueue(new TextEncoder().encode(pieces[pieces.length - left--]));
        pass(900);
      },
    }, { highWaterMark: 0 }));
  };
  const failed = ({ status, passing }) => ({ status, passing });
  const answered = await new Api({ onLocked: () => {} }).get("/slow", 1_000).catch(failed);
  return { answered, timers: timers.size };
}"""


async def run(visitor: Visitor, function: str, **values: Any) -> Any:
    """Call a function of JavaScript at a picture's address, where no page runs."""
    page = await visitor.profile.tab()
    visitor.is_last = True
    await page.goto(f"{visitor.origin}/static/logo.svg")
    return await page.evaluate(function, {"base": f"{visitor.origin}/static/", **values})


def script(name: str) -> str:
    """The function in a file, without the comment above it."""
    lines = (SUPPORT / name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("//"))


async def test_the_page_shows_what_the_server_has_once_everything_has_arrived(
    visit: Visit, house: House
) -> None:
    visitor = await visit(house)
    assert await run(visitor, script("page_model.js"), seeds=list(range(800)), length=20) is None


async def test_every_message_is_stored_once_and_in_order(visit: Visit, house: House) -> None:
    visitor = await visit(house)
    assert await run(visitor, script("outbox_model.js"), seeds=list(range(500))) is None


@pytest.mark.parametrize(
    ("file", "part", "instead"),
    [
        ("sync.js", "if (this.#reading) return this.#held.push([name, data, id]);", ""),
        ("state.js", "this.#threads.clear();", ""),
        ("outbox.js", "!error.passing && error.status !== 401", "error.status !== 401"),
        ("threadlist.js", "if (reading !== this.#reading) return;", ""),
    ],
)
async def test_the_model_finds_a_fault(
    visit: Visit, house: House, file: str, part: str, instead: str
) -> None:
    """Each of these lines is needed."""
    visitor = await visit(house)
    text = (PAGE / file).read_text()
    assert part in text

    async def spoil(route: Route) -> None:
        await route.fulfill(body=text.replace(part, instead), content_type="text/javascript")

    await visitor.context.route(f"**/static/{file}", spoil)
    name = "outbox_model.js" if file == "outbox.js" else "page_model.js"
    assert await run(visitor, script(name), seeds=list(range(1_000)), length=20) is not None


async def test_a_slow_response_arrives_as_long_as_something_of_it_does(
    visit: Visit, house: House
) -> None:
    visitor = await visit(house)
    pieces = ['{"slow"', ":", "[1, ", "2]", "}"]
    slow = await run(visitor, SLOW, pieces=pieces)
    assert slow == {"answered": {"slow": [1, 2]}, "timers": 0}


async def test_a_response_that_breaks_off_is_asked_for_again(visit: Visit, house: House) -> None:
    visitor = await visit(house)
    broken = await run(visitor, SLOW, pieces=['{"slow"'])
    assert broken == {"answered": {"status": 0, "passing": True}, "timers": 0}
