"""Sentences for people who connect a model or a platform, in the terminal or on the page."""

from __future__ import annotations

from collections.abc import Sequence

NO_FILE = "The settings come from no file: set LLM and its key in the environment."
NO_MODEL = "name a model, too"
IN_ENVIRONMENT = "it is set in the environment, which wins over .env: change it there"
OTHER_PORT = "llama.cpp has port 8080, so the page will be at port {port} (HTTP_PORT)."


def no_answer(name: str, seconds: float) -> str:
    """The model took too long to answer."""
    return f"{name} did not answer within {seconds:.0f} s: try again, or choose another model."


def not_listed(model: str, names: Sequence[str], *, is_near: bool) -> str:
    """The server does not list this model; `names` are similar ones, or the first of its list."""
    if is_near:
        return f"The server has no model {model!r}: did you mean {names[0]}?"
    return f"The server has no model {model!r}: choose another one, such as {', '.join(names)}."


# ── platforms ─────────────────────────────────────────────────────────────────────────────────
DISCORD_STEPS = """\
1. At https://discord.com/developers/applications choose “New Application”, or open yours.
2. On its page “Bot” turn “Message Content Intent” on and “Public Bot” off, and save.
3. There choose “Reset Token”, and copy the token."""

SLACK_STEPS = """\
1. Open this link to create the app, choose your workspace and confirm:
   {link}
2. On its page “Install App” install it, and copy the Bot User OAuth Token (xoxb-…).
3. On “Basic Information” generate an App-Level Token with the scope connections:write (xapp-…)."""

SWAPPED = "The two tokens are swapped: each goes to the setting that it belongs to."
NO_LLM = "No model is set yet, without which the bot does not start: run `threadline setup model`."
START = "`threadline run` (or `make run`) starts the bot."
RESTART = "Restart the running bot: it reads tokens only when it starts."


def ready(mention: str) -> str:
    """Tell people what to try first."""
    return f"Ready: write “{mention} hello” in #general, or in another channel that it is in."
