"""`threadline setup`: connects a model, Discord or Slack, and writes working values to `.env`."""

from __future__ import annotations

import argparse
import asyncio

from bot.cli.parsers import Commands, Run
from bot.cli.questions import NoAnswer, ask, ask_hidden, say
from bot.config.settings import Settings
from bot.domain.connecting import ModelChoice, Offers, ProviderOffer

FAILURE = 1
SHOWN_MODELS = 3
"""Models listed per server in the menu; the next question asks for the model itself."""

_EXAMPLES = """\
examples:
  threadline setup                                   asks what to connect
  threadline setup model --provider ollama --model llama3.1
  threadline setup model --provider openai --model gpt-5-mini < key.txt
  threadline setup discord < token.txt

Keys and tokens are asked for, or read from the input, one a line: never from the command line,
which other people on the machine can see."""


def add_setup_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line's `commands`."""
    text = "connect a model, Discord or Slack: asks, tries it with a real call and writes .env"
    setup = commands.add_parser(
        "setup",
        help=text,
        description=text.capitalize() + ".",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    setup.set_defaults(run=_set_up)
    kinds = setup.add_subparsers(title="what to connect", metavar="WHAT")

    def add(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        command = kinds.add_parser(name, help=text, description=text.capitalize() + ".")
        command.set_defaults(run=run)
        return command

    model = add("model", _set_up_model, "find or choose a model, and try it")
    model.add_argument("--provider", metavar="NAME", help="ollama, openai, … (docs/models.md)")
    model.add_argument("--model", metavar="NAME", help="one of the provider's models")
    add("discord", _set_up_discord, "try a bot's token, its intent and its permissions")
    add("slack", _set_up_slack, "create the app with one link, and try its tokens")


def _set_up(settings: Settings, options: argparse.Namespace) -> int:
    kinds: dict[str, Run] = {
        "model": _set_up_model,
        "discord": _set_up_discord,
        "slack": _set_up_slack,
    }
    options.provider = options.model = None
    while True:
        kind = ask("What should be connected: model, discord or slack?", "model").lower()
        if kind in kinds:
            return kinds[kind](settings, options) or 0
        say(f"{kind!r} is not one of these: write model, discord or slack.")


def _set_up_discord(settings: Settings, _options: argparse.Namespace) -> int:
    from bot.cli.setup_platforms import set_up_discord

    return set_up_discord(settings)


def _set_up_slack(settings: Settings, _options: argparse.Namespace) -> int:
    from bot.cli.setup_platforms import set_up_slack

    return set_up_slack(settings)


# ── the model ─────────────────────────────────────────────────────────────────────────────────
def _set_up_model(settings: Settings, options: argparse.Namespace) -> int:
    """Ask, try and write until a model answers. With options, try only once."""
    from bot.common import logs
    from bot.common.clock import SystemClock
    from bot.connecting import EnvModelConnector
    from bot.llm.local_servers import LOCAL_SERVERS

    servers = LOCAL_SERVERS if options.local_servers is None else options.local_servers
    redactor = logs.configure(level="WARNING", form=settings.log_format, secrets=settings.secrets())
    connector = EnvModelConnector(settings, SystemClock(), servers, redact=redactor.add)
    failed = False
    while True:
        offers = asyncio.run(connector.offers())
        try:
            choice = _choose(offers, options)
        except NoAnswer:
            if failed:  # the reason was already printed
                return FAILURE
            raise
        say(f"Trying {choice.name} …")
        result = asyncio.run(connector.connect(choice))
        if not result.error:
            say(f"{choice.name} answers: “{result.answer}”")
            say(f"It is in .env now, as LLM. {result.note}".strip())
            say(_what_next(settings))
            return 0
        say(result.error)
        failed = True
        if options.provider and options.model:
            return FAILURE


def _choose(offers: Offers, options: argparse.Namespace) -> ModelChoice:
    name = options.provider or _ask_provider(offers)
    offer = offers.find(name) or ProviderOffer(name, name)
    key = ""
    if offer.key:
        kept = "; Enter keeps the one that is set" if offer.key_is_set else ""
        key = ask_hidden(f"Your key for {offer.title} (hidden{kept})")
    default = next(iter(offer.models), "")
    model = options.model or ask(f"Model of {offer.title}", default)
    return ModelChoice(offer.name, model, key)


def _ask_provider(offers: Offers) -> str:
    """Ask for a provider by number, title or name, and return its name."""
    menu = [*offers.local, *offers.services]
    if not offers.local:
        say("No model server answers on this machine (Ollama, LM Studio, llama.cpp, vLLM).")
    for number, offer in enumerate(menu, 1):
        models = ", ".join(offer.models[:SHOWN_MODELS])
        say(f"{number:4}  {offer.title}" + (f" on this machine: {models}" if not offer.key else ""))
    while (answer := ask("Which one? Its number or its name", "1")).isdecimal():
        if answer in (numbers := {str(number): offer.name for number, offer in enumerate(menu, 1)}):
            return numbers[answer]
        say(f"{answer} is not one of these: write a number from 1 to {len(menu)}, or a name.")
    titles = {offer.title.lower(): offer.name for offer in menu}
    return titles.get(answer.lower(), answer.lower())


def _what_next(settings: Settings) -> str:
    from bot.operation.control_socket import is_answering

    if is_answering(settings.socket_path):
        return "The running bot uses it in a few seconds."
    return "`threadline run` (or `make run`) starts the bot; `threadline chat` asks it right here."
