"""A corpus of keys, cards, accounts, addresses and numbers: found, missed, and found by mistake."""

from __future__ import annotations

import base64
import random
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bot.common import sensitive
from bot.common.sensitive.numbers import passes_luhn, passes_mod_97
from bot.domain.policy import Redaction

ROOT = Path(__file__).parents[2]
ALL = frozenset(Redaction)
LETTERS = string.ascii_letters + string.digits
# Everything is generated here, so that no file in the repository contains anything that looks like
# a key.
RANDOM = random.Random(7)


def some(count: int, characters: str = LETTERS) -> str:
    while True:
        made = "".join(RANDOM.choices(characters, k=count))
        if any(map(str.isdigit, made)) or not any(map(str.isdigit, characters)):
            return made


def pem(kind: str) -> str:
    body = base64.b64encode(RANDOM.randbytes(600)).decode()
    lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def jwt() -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    return f"{head}.{some(60)}.{some(43)}"


HEX = "0123456789abcdef"
KEYS: list[Callable[[], str]] = [
    lambda: f"sk-{some(48)}",
    lambda: f"sk-proj-{some(60, LETTERS + '-_')}x9",
    lambda: f"sk-ant-api03-{some(93, LETTERS + '-_')}AA",
    lambda: f"sk-or-v1-{some(64, HEX)}",
    lambda: f"xoxb-{some(12, string.digits)}-{some(12, string.digits)}-{some(24)}",
    lambda: f"xoxp-{some(12, string.digits)}-{some(12, string.digits)}-{some(32, HEX)}",
    lambda: f"xapp-1-A{some(10)}-{some(13, string.digits)}-{some(64, HEX)}",
    lambda: f"https://hooks.slack.com/services/T{some(8)}/B{some(10)}/{some(24)}",
    lambda: f"{RANDOM.choice('MNO')}{some(25)}.G{some(5)}.{some(38, LETTERS + '-_')}",
    lambda: (
        f"https://discord.com/api/webhooks/{some(19, string.digits)}/{some(68, LETTERS + '-_')}"
    ),
    lambda: f"ghp_{some(36)}",
    lambda: f"gho_{some(36)}",
    lambda: f"github_pat_{some(22)}_{some(59)}",
    lambda: f"glpat-{some(20)}",
    lambda: f"AKIA{some(16, string.ascii_uppercase + '234567')}",
    lambda: f"AIza{some(35)}",
    lambda: f"hf_{some(34)}",
    lambda: f"gsk_{some(52)}",
    lambda: f"npm_{some(36)}",
    lambda: f"pypi-AgEIcHlwaS5vcmc{some(60)}",
    lambda: f"SG.{some(22)}.{some(43)}",
    lambda: f"sk_live_{some(24)}",
    lambda: f"shpat_{some(32, HEX)}",
    lambda: f"dop_v1_{some(64, HEX)}",
    lambda: f"xai-{some(80)}",
    lambda: f"hvs.{some(90)}",
    jwt,
    lambda: pem("RSA "),
    lambda: pem("OPENSSH "),
    lambda: pem(""),
]
SECRETS: list[tuple[str, Callable[[], str]]] = [  # identified only by the text in front
    ("Authorization: Bearer {}", lambda: some(40)),
    ("Authorization: Basic {}", lambda: base64.b64encode(f"ann:{some(9)}".encode()).decode()),
    ("curl -H 'X-API-Key: {}'", lambda: some(32, HEX)),
    ("aws_secret_access_key = {}", lambda: some(40, LETTERS + "/+")),
    ('{{"client_secret": "{}"}}', lambda: some(32)),
    ("export OPS_TOKEN={}", lambda: some(40, HEX)),
    ("my password is {}", lambda: f"{some(8)}!7"),
    ("DB_PASSWORD={}", lambda: some(20)),
    ("postgres://app:{}@db.internal/prod", lambda: some(14)),
    ("the api key: {}", lambda: some(32, HEX)),
    ("110201543:{} is the token", lambda: f"AA{some(33, LETTERS + '-_')}"),
]
AROUND = ["{}", "the key is {}, please", '"{}"', "`{}`", "KEY={}\n", "({})", "a: {}\nb: 2", "> {}"]

ISSUERS = [("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("3528", 16), ("305", 14)]
COUNTRIES = {"DE": 22, "FR": 27, "GB": 22, "NL": 18, "NO": 15, "CH": 21, "PL": 28, "ES": 24}
PHONES = """+49 170 1234567|+1 (415) 555-2671|+14155552671|+33 6 12 34 56 78|0044 20 7946 0958
(415) 555-2671|415-555-2671|415.555.2671|06 12 34 56 78|030 12345678|0171/1234567|+49-30-1234567
020 7946 0958""".replace("\n", "|").split("|")
EMAILS = """ann@example.org|jane.doe+x@mail.example.co.uk|o'neil@firm.ie|a_b-c@sub.domain.io
x@münchen.de|UPPER@EXAMPLE.COM|first.last@company.travel""".replace("\n", "|").split("|")


def card(prefix: str, length: int) -> str:
    body = prefix + some(length - len(prefix) - 1, string.digits)
    return next(body + digit for digit in string.digits if passes_luhn(body + digit))


def iban(country: str, length: int) -> str:
    rest = some(length - 4, string.digits)
    return next(
        made for check in range(2, 99) if passes_mod_97(made := f"{country}{check:02}{rest}")
    )


def grouped(number: str, separator: str) -> str:
    return separator.join(number[start : start + 4] for start in range(0, len(number), 4))


def values() -> list[tuple[Redaction, str, str]]:
    """Each value with its kind and a sentence around it."""
    found = [(Redaction.KEYS, make(), frame) for make in KEYS for frame in AROUND]
    found += [(Redaction.KEYS, make(), frame) for frame, make in SECRETS for _ in range(4)]
    for prefix, length in ISSUERS:
        for separator in ("", " ", "-"):
            number = grouped(card(prefix, length), separator)
            found += [(Redaction.CARD, number, frame) for frame in ("card {} 12/27", "{}", "({})")]
    for country, length in COUNTRIES.items():
        for separator in ("", " "):
            number = grouped(iban(country, length), separator)
            found += [(Redaction.IBAN, number, frame) for frame in ("IBAN: {}.", "{} Bank", "{}")]
    found += [(Redaction.PHONE, each, frame) for each in PHONES for frame in ("{}", "ring {} now")]
    found += [(Redaction.PHONE, "555 267 1234", frame) for frame in ("call me at {}", "tel: {}")]
    around = ("{}", "<{}>", "mail {}, or", "mailto:{}")
    return found + [(Redaction.EMAIL, each, frame) for each in EMAILS for frame in around]


def test_every_value_of_the_corpus_is_found_whole() -> None:
    missed, counts = [], Counter[str]()
    for kind, value, frame in values():
        text = frame.format(value)
        start = text.index(value)
        found = [each for each in sensitive.find(text, ALL) if each.kind is kind]
        begins = start + (8 if value.startswith("https://") else 0)
        whole = any(each.start <= begins and each.end == start + len(value) for each in found)
        counts[kind.value] += 1
        if not whole:
            missed.append((kind.value, text))
    assert not missed, f"{len(missed)} of {counts}: {missed[:20]}"


NOTHING = """The deploy of 2026-11-30 12:00:05 took 1234567 ms, build 20261130.4, version 3.11.9
Order 1234567890123456 for 4,111.11 EUR and invoice 2026-000123; ticket #4111111111111112
<@123456789012345678> wrote in <#987654321098765432>: see
9fceb02d0ae598e95dc970b74767f19372d61af8
550e8400-e29b-41d4-a716-446655440000 is a UUID, 192.168.100.200:8080 an address, 10.0.0.0/8 a net
sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
password: required, token: str | None = None, secret = os.environ["SECRET"], key: Mapping[str, int]
the password is wrong, a token of appreciation, bearer of responsibilities, key responsibilities
git@github.com:owner/name.git, icon@2x.png, npm i left-pad@1.3.0, @everyone, user@localhost
https://example.org/a/very/long/path/with-many-words-and-2-digits/index.html?page=12345678
def test_the_token_is_refused_after_24_hours(self) -> None: ...
1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16, 0000 0000 0000 0000, 1111-1111-1111-1111
DE00 1234 5678 9012 3456 78, GB82 WEST 1234, AT 2026, 12.03.2026 - 14.04.2026, 100-200-3000
sk-learn, sk-fading-circle-container, eyJust.kidding, ghp_, AKIA, xox, sk_live_"""


def test_what_only_looks_like_a_value_is_left_alone() -> None:
    found = [
        (each.kind.value, line[each.start : each.end])
        for line in NOTHING.splitlines()
        for each in sensitive.find(line, ALL)
    ]
    assert found == []


def test_our_own_code_and_documents_have_hardly_any_value() -> None:
    """Two million characters of English and code contain only examples of addresses."""
    texts = [
        path.read_text()
        for pattern in ("docs/**/*.md", "bot/**/*.py", "adapters/**/*.py", "migrations/*.sql")
        for path in ROOT.glob(pattern)
        if not {"sensitive", "reference"}.intersection(path.parts)  # "reference" has made-up keys
    ]
    assert sum(map(len, texts)) > 1_500_000
    found = [
        (each.kind.value, text[each.start : each.end])
        for text in texts
        for each in sensitive.find(text, ALL)
    ]
    # Examples in comments and documents, and placeholders for a password in an address.
    places = {"PASSWORD", "password"}
    wrong = [each for each in found if each[0] != "email" and "example" not in each[1]]
    wrong = [each for each in wrong if each[1] not in places]
    assert not wrong, wrong


def test_half_of_a_private_key_is_found() -> None:
    key = pem("RSA ")
    for text in (key[:300], f"so: {key[300:]}", f"> {key}".replace("\n", "\n> ")):
        (found,) = sensitive.find(text, ALL)
        rest = text[: found.start] + text[found.end :]
        assert len(rest) < 80, rest


def test_a_value_for_a_log_is_its_kind() -> None:
    text = f"refused: ghp_{some(36)} of ann@example.org"
    assert sensitive.blank(text, ALL) == "refused: [keys] of [email]"
    assert sensitive.blank("nothing", ALL) == "nothing"


def test_values_are_found_in_look_alike_characters() -> None:
    """Whatever look-alikes keyboards and websites substitute, nothing of the value is left in the
    text."""
    full_width = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
    arabic = {ord("0") + digit: 0x660 + digit for digit in range(10)}
    key = f"ghp_{some(36)}"
    values = {
        Redaction.CARD: "4111 1111 1111 1111",
        Redaction.IBAN: "DE89 3704 0044 0532 0130 00",
        Redaction.PHONE: "+49 170 1234567",
        Redaction.EMAIL: "ann.lee@example.com",
        Redaction.KEYS: key,
    }
    disguises: list[Callable[[str], str]] = [
        lambda value: value.translate(full_width),
        lambda value: value.translate(arabic),
        "\u200b".join,
        lambda value: value[:5] + "\ufeff" + value[5:9] + "\u00ad" + value[9:],
        lambda value: value.replace(" ", "\u202f"),
        lambda value: value.replace(" ", "\u2011"),
    ]
    for kind, value in values.items():
        for number, disguise in enumerate(disguises):
            if kind is Redaction.KEYS and number == 1:
                continue  # a key has no digits of another script
            written = disguise(value)
            text = f"größe ‘x’ \u200d: {written} – end"
            (found,) = sensitive.find(text, ALL)
            assert text[found.start : found.end] == written, (kind, number)


def test_a_card_is_found_behind_another_number_and_over_two_lines() -> None:
    card = "4111 1111 1111 1111"
    for text in (f"2 {card}", f"12\u00a0{card} 12 27 123", f"27\n{card}", "4111 1111\n1111 1111"):
        (found,) = sensitive.find(text, ALL)
        assert "".join(filter(str.isdigit, text[found.start : found.end])) == "4" + "1" * 15
    assert not sensitive.find("4111\n1111\n1111\n1111", ALL)  # a column of numbers
    (found,) = sensitive.find("to DE89 3704\n0044 0532-0130 00 today", ALL)
    assert found.kind is Redaction.IBAN
