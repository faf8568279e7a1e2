"""Content of an answer on the page: formulas, tasks, footnotes, long code and diagrams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Locator, expect

from tests.support.axe import violations
from tests.support.browser import House, Visitor, needs_browser, until

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

LINES = 90
MERMAID_MS = 60_000  # as long as the page waits: a busy machine takes long to read 2.5 MB of script
CODE = "".join(f"total_{n} = compute({n}, '{'x' * 60}')\n" for n in range(LINES))
ANSWER = f"""\
For $a > 0$ it costs $5 or $6, and \\(I = \\int_0^1 x^2\\,dx\\) is finite[^1].

$$
\\fcolorbox{{red}}{{yellow}}{{A}} + \\pmb{{x}} = \\sqrt{{\\frac{{\\pi}}{{a}}}}
$$

- [x] substitute $x^2$
- [ ] check the *limit*

Wrong is $\\frac{{a}}{{$, and unknown [^2].

```python
# gauss.py
value = 1
```

```python
{CODE}```

```mermaid
flowchart LR
  A[Question] --> B{{Known?}}
```

```mermaid
flowchart LR
  A --> --> B [
```

[^1]: By **Poisson**, $\\Gamma(1/2)$.

The end."""

COPY = """(part) => {
  const range = document.createRange();
  range.setStart(part.firstChild, 0);
  range.setEnd(part.querySelector(".math .katex-html"), 0); // in the middle of a formula
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  const data = new DataTransfer();
  const how = { clipboardData: data, bubbles: true, cancelable: true };
  part.dispatchEvent(new ClipboardEvent("copy", how));
  return data.getData("text/plain");
}"""
COUNT_FONTS = """() => performance.getEntriesByType("resource")
  .filter(({ name }) => name.includes("/vendor/")).map(({ name }) => name.split("/").at(-1))"""


async def test_an_answer_with_formulas_tasks_footnotes_and_code(visit: Visit, house: House) -> None:
    """Checked while it is being written, at its end, and after a reload; the library loads with the
    first formula."""
    await house.model.say(ANSWER, match="the integral", rate=2_000)
    visitor = await visit(house)
    tab = await visitor.tab()
    assert await tab.page.evaluate(COUNT_FONTS) == []
    await tab.mention("the integral")
    reply = await tab.wait_reply("The end.")
    text = reply.locator(".text")
    await expect(text.locator(".math .katex")).to_have_count(5)
    shown = await text.evaluate("node => node.textContent")
    assert "it costs $5 or $6" in shown
    wrong = text.locator(".math.wrong")
    await expect(wrong).to_have_text("$\\frac{a}{$")
    await expect(text.locator("math annotation").first).to_have_text("a > 0")
    assert await text.locator("p").first.evaluate(COPY) == "For $a > 0$"
    done = text.get_by_role("checkbox", name="Done")
    await expect(done).to_be_checked()
    await expect(done).to_be_disabled()
    await expect(text).to_contain_text("unknown [^2]")
    await _follow_footnote(text)
    await _use_code(reply)
    assert await violations(tab.page) == []
    await tab.page.reload()
    reply = await tab.wait_reply("The end.")
    await expect(reply.locator(".math .katex")).to_have_count(5)
    again = await reply.locator(".text").evaluate(
        "node => node.textContent.replace(/Show .* lines/, '')"
    )
    assert again == shown.replace(f"Show all {LINES} lines", "").replace("Show fewer lines", "")


async def _follow_footnote(text: Locator) -> None:
    """Follow a footnote and return; the address, which names the thread, does not change."""
    address = await text.evaluate("() => location.href")
    await text.locator("a[role=doc-noteref][aria-label='Footnote 1']").click()
    await expect(text.locator(".note")).to_be_focused()
    await text.locator("a[role=doc-backlink]").click()
    await expect(text.locator("a[role=doc-noteref]")).to_be_focused()
    assert await text.evaluate("() => location.href") == address


async def _use_code(reply: Locator) -> None:
    """Download code, wrap its lines, unfold a long block, and scroll by keyboard."""
    small, long = reply.locator("figure.code").nth(0), reply.locator("figure.code").nth(1)
    async with reply.page.expect_download() as saved:
        await small.get_by_role("button", name="Save as a file").click()
    assert (await saved.value).suggested_filename == "gauss.py"
    await expect(long.locator(".lines")).to_have_text(f"{LINES} lines")
    fold = long.locator(".fold")
    if await fold.get_attribute("aria-expanded") == "false":
        await fold.click()
    await expect(fold).to_have_text("Show fewer lines")
    pre = long.locator("pre")
    await pre.focus()
    await pre.press("ArrowRight")
    await until(lambda: pre.evaluate("node => node.scrollLeft > 0"))
    await fold.click()
    await expect(fold).to_have_text(f"Show all {LINES} lines")
    wrap = long.get_by_role("button", name="Wrap lines")
    await wrap.click()
    await expect(wrap).to_have_attribute("aria-pressed", "true")
    assert await pre.evaluate("node => node.scrollWidth <= node.clientWidth")
    await wrap.click()


async def test_a_diagram_is_drawn_when_one_asks_for_it(visit: Visit, house: House) -> None:
    """It stays drawn from then on. An error shows the source, which is always available."""
    await house.model.say(ANSWER, match="a diagram", rate=2_000)
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("a diagram")
    reply = await tab.wait_reply("The end.")
    button = reply.get_by_role("button", name="Show the diagram")
    await expect(button).to_have_count(2)
    await expect(reply.locator(".diagram")).to_have_count(0)
    await button.first.click()
    image = reply.get_by_role("img", name="Diagram: flowchart")
    await expect(image).to_be_visible(timeout=MERMAID_MS)
    assert await image.evaluate("node => node.naturalWidth > 50")
    await button.last.click()
    drawn = reply.locator(".diagram")
    await expect(drawn.last).to_contain_text("cannot be drawn", timeout=MERMAID_MS)
    await expect(reply.locator("figure.code").last.locator("pre")).to_be_visible()
    await tab.page.reload()
    reply = await tab.wait_reply("The end.")
    again = reply.get_by_role("img", name="Diagram: flowchart")
    await expect(again).to_be_visible(timeout=MERMAID_MS)
    await reply.get_by_role("button", name="Show the diagram").first.click()
    await expect(reply.locator(".diagram img")).to_have_count(0)
    await expect(reply.locator("figure.code").nth(2).locator("pre")).to_be_visible()
