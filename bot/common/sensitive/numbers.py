"""Finds payment cards and bank accounts by their checksums and lengths."""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

# A number may continue on the next line after a group of four digits, because chats and e-mails
# wrap long lines.
_WRAPPED = r"(?<=[ \-][0-9]{4})\n(?=[0-9]{4}(?![0-9]))"
_DIGITS = re.compile(rf"(?<![\w.,\-])[0-9](?:(?:[ \-]|{_WRAPPED})?[0-9]){{11,18}}(?![0-9])")
_USUAL = re.compile(
    r"(?:[0-9]{13,19}|[0-9]{4}(?:[ \-\n][0-9]{4}){3}|[0-9]{4}[ \-][0-9]{6}[ \-][0-9]{4,5})"
    r"(?![0-9])"
)
_GROUPS = re.compile(r"[0-9]+")
_SHORTEST_CARD = 12

_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # MC
    r"|3[47][0-9]{13}"  # American Express
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12,15}"  # Discover
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"  # JCB
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11,16}"  # Diners Club
    r"|(?:62|81)[0-9]{14,17}"  # UnionPay
    r"|(?:50|5[6-9]|6[0-9])[0-9]{10,17}"  # Maestro, RuPay
    r"|220[0-4][0-9]{12,15}"  # Mir
)


def find_cards(text: str) -> Iterator[Span]:
    """Card numbers with an issuer's length and prefix, and a correct check digit."""
    place, after_number = 0, -1
    while found := _DIGITS.search(text, place):
        start, number = found.start(), found[0]
        end = _usual_end(number) if start == after_number else _card_end(number)
        if end:
            yield start, start + end
            place = start + end
        else:  # another number may precede the card's: "2 4111 1111 1111 1111"
            place = start + len(number) - len(number.lstrip("0123456789"))
            after_number = place + 1


def _usual_end(number: str) -> int:
    """The end of a card number at the start of `number` if it is written in the usual groups; else
    0."""
    found = _USUAL.match(number)
    return found.end() if found is not None and _card_end(found[0]) == found.end() else 0


def _card_end(number: str) -> int:
    """The end of the longest card number at the start of `number` that ends with a group; 0 if
    none."""
    for group in reversed(list(_GROUPS.finditer(number))):
        digits = "".join(filter(str.isdigit, number[: group.end()]))
        if len(digits) < _SHORTEST_CARD:
            return 0
        if _ISSUERS.fullmatch(digits) and len(set(digits)) > 1 and passes_luhn(digits):
            return group.end()
    return 0


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


# ── IBAN ──────────────────────────────────────────────────────────────────────────────────────
_IBAN_START = re.compile(r"\b[A-Za-z]{2}[0-9]{2}(?=[ \-\n]?[A-Za-z0-9])")
_LONGEST_IBAN = 34
_SEPARATORS = " -\n"

# Lengths by country, from SWIFT's IBAN registry.
_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
    "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


def find_ibans(text: str) -> Iterator[Span]:
    """Bank accounts with a country's length and a correct checksum."""
    for found in _IBAN_START.finditer(text):
        length = _LENGTHS.get(found[0][:2].upper())
        if length is None:
            continue
        end = _iban_end(text, found.start(), length)
        if end:
            yield found.start(), end


def _iban_end(text: str, start: int, length: int) -> int:
    """The end of the account of `length` characters that begins at `start`; 0 if there is none."""
    taken: list[str] = []
    for place in range(start, min(len(text), start + 2 * _LONGEST_IBAN)):
        character = text[place]
        if character in _SEPARATORS:
            continue
        if not (character.isascii() and character.isalnum()):
            return 0
        taken.append(character)
        if len(taken) == length:
            is_end = not text[place + 1 : place + 2].isalnum()
            return place + 1 if is_end and passes_mod_97("".join(taken)) else 0
    return 0


def passes_mod_97(iban: str) -> bool:
    """Whether the two check digits are correct (ISO 7064)."""
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1
