"""Text of users and models cannot run anything in the page; only a token opens it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Request, expect

from tests.support.browser import House, Visitor, needs_browser, sign_in

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

HOSTILE = """\
<script>window.harmed = 1</script>
<img src=x onerror="window.harmed = 2">
<svg onload="window.harmed = 3"><a xlink:href="javascript:window.harmed=4">x</a></svg>
<iframe srcdoc="<script>parent.harmed = 5</script>"></iframe>

[a link](javascript:window.harmed=6) and [another](data:text/html,<script>alert(7)</script>)
![picture](https://elsewhere.example/track.png) and ![two](javascript:window.harmed=8)
[good](https://example.com/page "title\\" onclick=window.harmed=9")

```html"><script>window.harmed = 10</script>
</code></pre><script>window.harmed = 11</script>
```

| a | b |
|---|:-:|
| <b onclick="harmed=12">x</b> | `</td><script>window.harmed=13</script>` |

[^"><script>harmed=14</script>]: note <img src=x onerror=harmed=15> [^"><b>]
[^1]: a note [^1]

- [x] <input type=checkbox onclick=harmed=16 checked>

$\\href{javascript:harmed=17}{x_1}$ $\\includegraphics{https://elsewhere.example/m.png}$
$\\htmlStyle{position:fixed;inset:0}{x_1}$ $\\htmlClass{composer}{x_1}$ $\\htmlId{message}{x_1}$
$\\url{https://elsewhere.example/_}$ $<img src=x onerror=harmed=18>_1$ $x_1" onclick="harmed=19"$
$\\colorbox{red;background:url(https://elsewhere.example/c)}{x_1}$ $\\rule{9999em}{9999em}_1$
$\\def\\a{\\a\\a}\\a_1$ $\\newcommand\\b[1]{#1#1}\\b{\\b{x_1}}$
$\\fcolorbox{red}{blue}{x}\\pmb{y}_1$

```mermaid
%%{init: {"securityLevel": "loose", "themeCSS": "* { fill: url(https://elsewhere.example/d) }"}}%%
flowchart LR
  A["<img src=https://elsewhere.example/e onerror=top.harmed=20>"] --> B
  B["<script>top.harmed=21</script>"] --> C
  click A href "javascript:top.harmed=22"
  style A fill:url(https://elsewhere.example/f)
```

<style>body { display: none }</style> The end.
"""
# As if the server had let everything through.
RAW = """\
<p onclick="harmed=1" style="position:fixed;inset:0" id="channel" class="composer k">text</p>
<script>window.harmed = 2</script><img src="https://elsewhere.example/x.png" onerror="harmed=3">
<a href="javascript:harmed=4">a</a><a href=" jAvaScript:harmed=5">b</a><a href="//x.example">c</a>
<a href="https://example.com/" target="_top" onclick="harmed=6">d</a>
<svg><script>harmed=7</script><use href="https://elsewhere.example/x.svg#y"/></svg>
<math><mtext><table><mglyph><style><img src=x onerror=harmed=8></style></mglyph></table></math>
<form action="https://elsewhere.example"><input name="a"><button>go</button></form>
<iframe src="https://elsewhere.example"></iframe><object data="x"></object><embed src="x">
<template><p>hidden</p></template><base href="https://elsewhere.example/"><meta charset="x">
<pre class="code" data-language="&quot;onload=&quot;"><code>x</code></pre>
"""
SHOW_RAW = """async (html) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Body } = await import(address("patch.js"));
  const body = new Body();
  body.show(html, true);
  document.querySelector("#channel .column").append(body.node);
  const all = [...body.node.querySelectorAll("*")];
  return {
    tags: [...new Set(all.map((node) => node.localName))].sort(),
    attributes: [...new Set(all.flatMap((node) => node.getAttributeNames()))].sort(),
    links: all.filter((node) => node.matches("a")).map((node) => node.getAttribute("href")),
    classes: [...body.node.querySelector("p").classList],
  };
}"""


async def test_model_output_never_runs(visit: Visit, house: House) -> None:
    """No script, no request, and no policy violation either: output never becomes markup."""
    await house.model.say(HOSTILE, match="be hostile", rate=1_000)
    visitor = await visit(house)
    # The sandbox's policy blocks handlers in text that Mermaid reads, as the page's policy does.
    visitor.trouble.provoked = ("script-src",)
    tab = await visitor.tab()
    await tab.mention("be hostile <img src=x onerror='window.harmed = 20'>")
    reply = await tab.wait_reply("The end.")
    await tab.page.reload()
    reply = await tab.wait_reply("The end.")
    await reply.get_by_role("button", name="Show the diagram").click()
    drawn = reply.locator(".diagram[role=group], .diagram p[dir]")
    await expect(drawn).to_be_visible(timeout=60_000)  # the page's own limit
    await expect(reply.locator(".math .katex").first).to_be_visible()
    assert await tab.page.evaluate("window.harmed") is None
    foreign = "#message, .composer, a[href*='elsewhere.example/m']"  # what the formula tries to use
    await expect(reply.locator(foreign)).to_have_count(0)
    # The page itself draws formulas and the diagram's image.
    drawn_elements = (
        "img:not(.diagram > [src^='blob:']), svg:not(.katex svg), [style]:not(.katex *)"
    )
    bad = f"script, iframe, style, [onclick], [onerror], a[href^='javascript'], {drawn_elements}"
    await expect(tab.page.locator(".feed").locator(bad)).to_have_count(0)
    good = reply.get_by_role("link", name="good")
    await expect(good).to_have_attribute("href", "https://example.com/page")
    await expect(good).to_have_attribute("target", "_blank")
    await expect(good).to_have_attribute("rel", "noopener noreferrer nofollow")
    await expect(reply.locator(".text")).to_contain_text("<script>window.harmed = 1</script>")


async def test_page_creates_only_allowed_elements(visit: Visit, house: House) -> None:
    """The second line of defense: the page drops markup that the server let through by mistake."""
    visitor = await visit(house)
    visitor.trouble.provoked = ("violat",)  # the policy blocks handlers in the inert document too
    tab = await visitor.tab()
    shown: dict[str, Any] = await tab.page.evaluate(SHOW_RAW, RAW)
    await tab.page.locator("#channel .column p.k").click()
    assert await tab.page.evaluate("window.harmed") is None
    assert set(shown["tags"]) <= {
        *("a", "p", "div", "pre", "code", "figure", "figcaption", "span", "button", "table"),
    }
    assert set(shown["attributes"]) <= {
        *("aria-hidden", "aria-label", "aria-pressed", "class", "data-code", "data-copy"),
        *("data-file", "dir", "href", "rel", "role", "tabindex", "target", "title", "type"),
    }
    assert [link for link in shown["links"] if link] == [
        "https://elsewhere.example/x.png",  # an image becomes a link and is not loaded
        "https://example.com/",
    ]
    assert shown["classes"] == ["k"]


async def test_text_cannot_become_markup_elsewhere_in_the_page(visit: Visit, house: House) -> None:
    """Trusted Types: not even the page's own scripts can set HTML from a string."""
    visitor = await visit(house)
    visitor.trouble.provoked = ("TrustedHTML", "require-trusted-types-for")
    tab = await visitor.tab()
    attempt = """() => {
      try { document.body.insertAdjacentHTML("beforeend", "<b>x</b>"); return "done"; }
      catch (error) { return error.name; }
    }"""
    assert await tab.page.evaluate(attempt) == "TypeError"


async def test_another_user_of_a_tab_gets_nothing_of_the_first_one(
    visit: Visit, house: House
) -> None:
    """Neither drafts nor messages remain, and unsent messages are never sent as the other user."""
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("private matters")
    await tab.wait_reply("private matters")
    await tab.page.route("**/app/messages", lambda route: route.abort())
    await tab.say("private and unsent")
    await expect(tab.questions.last).to_contain_text("Not sent yet")
    await tab.box.fill("private draft")
    token = house.new_token() or ""
    name = f"user{token.rpartition('-')[2]}"
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.headers.get("threadline-user") == name:
            sent.append(request.post_data or "")

    visitor.hear(tab.page, "request", note)
    # No tab announces that the browser now belongs to another person; the server does.
    await sign_in(visitor.context, visitor.origin, token)
    await tab.page.unroute("**/app/messages")
    await expect(tab.page.locator("#user")).to_have_text(name)
    await expect(tab.page.locator(".empty")).to_be_visible()
    await expect(tab.thread).to_be_hidden()
    await tab.mention("hello from another")
    await tab.wait_reply("hello from another")
    assert any("hello from another" in each for each in sent)
    assert not any("unsent" in each for each in sent)
    assert "private" not in await tab.page.evaluate("JSON.stringify({ ...sessionStorage })")


async def test_page_asks_for_a_token_once_and_forgets_it_at_sign_out(
    visit: Visit, house: House
) -> None:
    """The page says if a token is wrong; signing in or out applies to the other tabs too."""
    visitor = await visit(house, token="wrong")
    tab = await visitor.tab()
    dialog = tab.page.get_by_role("dialog", name="Sign in")
    await expect(dialog).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("Token").fill("wrong again")
    await dialog.get_by_role("button", name="Sign in").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("does not know that token")
    await dialog.get_by_label("Token").fill(house.new_token() or "")
    await dialog.get_by_label("Token").press("Enter")
    await expect(dialog).to_be_hidden()
    await tab.mention("hello from me")
    await tab.wait_reply("hello from me")
    await expect(tab.questions.first).to_contain_text("user")
    other = await visitor.tab()
    await expect(other.roots).to_have_count(1)
    await tab.page.get_by_role("button", name="Sign out").click()
    await expect(dialog).to_be_visible()
    await expect(tab.page.locator("article")).to_have_count(0)
    await expect(other.page.get_by_role("dialog", name="Sign in")).to_be_visible()
    everything = "JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie])"
    assert "secret" not in await tab.page.evaluate(everything)
    # A token saved by an earlier version of the page signs in once, and is then deleted.
    kept = json.dumps(json.dumps(house.new_token()))
    await tab.page.evaluate(f"localStorage['threadline.token'] = {kept}")
    await tab.page.reload()
    await expect(tab.page.locator("#user")).to_have_text(re.compile(r"^user\d+$"))
    assert await tab.page.evaluate("'threadline.token' in localStorage") is False
    assert "secret" not in await tab.page.evaluate(everything)
    await tab.page.reload()
    await expect(tab.page.locator("#user")).to_have_text(re.compile(r"^user\d+$"))
    await expect(dialog).to_be_hidden()
