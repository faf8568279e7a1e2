"""Finds keys and tokens of known forms, private keys, and passwords after words like "password:".

A key is one run of letters, digits and a few symbols, so only long runs are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

_RUN = re.compile(r"[A-Za-z0-9_\-+/=.~]{16,}+")

# The forms that providers document; see docs/decisions/2026-11-30-redaction.md for the choice.
_FORMS = (
    r"sk-(?=[A-Za-z_\-]{0,40}[0-9])[A-Za-z0-9_\-]{16,}",  # OpenAI, Anthropic, OpenRouter, DeepSeek
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
    r"whsec_[A-Za-z0-9+/=]{24,}",
    r"xox[abceoprs]-[A-Za-z0-9\-]{10,}",  # Slack
    r"(?:xapp|xwfp)-[A-Za-z0-9\-]{10,}",
    r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{20,}",
    r"[A-Z][A-Za-z0-9_\-]{23,27}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,45}",  # Discord
    r"(?:discord|discordapp)\.com/api/webhooks/[0-9]{15,21}/[A-Za-z0-9_\-]{40,}",
    r"gh[pousr]_[A-Za-z0-9]{30,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"gl(?:pat|dt|rt|ptt|cbt|agent|soat|ft)-[A-Za-z0-9_\-]{20,}",  # GitLab
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])",  # AWS
    r"AIza[A-Za-z0-9_\-]{35}",  # Google
    r"ya29\.[A-Za-z0-9_\-]{20,}",
    r"GOCSPX-[A-Za-z0-9_\-]{20,}",
    r"hf_[A-Za-z0-9]{30,}",  # Hugging Face
    r"(?:gsk|r8|csk|fw|ntn|figd|glsa|glc|pul|sntrys|sntryu|rubygems)_[A-Za-z0-9_]{30,}",
    r"(?:nvapi|xai|pplx|tvly|tskey)-[A-Za-z0-9_\-]{20,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_\-]{50,}",
    r"dckr_[a-z]{3}_[A-Za-z0-9_\-]{27,}",
    r"SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}",  # SendGrid
    r"key-[0-9a-f]{32}(?![0-9a-f])",  # Mailgun
    r"(?:SK|AC)[0-9a-f]{32}(?![0-9a-f])",  # Twilio
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # Shopify
    r"do[opr]_v1_[0-9a-f]{64}",  # DigitalOcean
    r"dapi[0-9a-f]{32}",  # Databricks
    r"hv[sb]\.[A-Za-z0-9_\-]{24,}",  # HashiCorp Vault
    r"lin_api_[A-Za-z0-9]{32,}",
    r"LTAI[A-Za-z0-9]{16,24}(?![A-Za-z0-9])",  # Alibaba
    r"ATATT3[A-Za-z0-9_\-=]{50,}",  # Atlassian
    r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",  # Postman
    r"sq0[a-z]{3}-[A-Za-z0-9_\-]{22,43}",  # Square
    r"AGE-SECRET-KEY-1[A-Z0-9]{50,}",
    r"A3-[A-Z0-9]{6}-[A-Z0-9\-]{20,}",  # 1Password
    r"(?<![_\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{6,}",  # JWT
)
# `[-_]` may come before it, because a name may be joined to the key, as in `token-ghp_…`.
_FORM = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_FORMS)})")
_STARTS = re.compile(
    r"sk-|[srp]k_|whsec_|xox|xapp-|xwfp-|hooks\.slack|webhooks/|gh[pousr]_|github_pat_|gl[a-z]{2,5}-"
    r"|A[KSBC][IC]A|AIza|ya29|GOCSPX|hf_|gsk_|r8_|csk_|fw_|ntn_|figd_|gls?[ac]_|pul_|sntry|rubygems_"
    r"|nvapi-|xai-|pplx-|tvly-|tskey-|npm_|pypi-|dckr_|SG\.|key-|SK|AC|shp|do[opr]_|dapi|hv[sb]\."
    r"|lin_|LTAI|ATATT|PMAK|sq0|AGE-|A3-|eyJ|\.[A-Za-z0-9_\-]{6}\."
)

# What people and programs write before a secret. It is matched against the end of a window before
# the run, and against the start of the run, because `API_KEY=…` is one run.
_CONTEXT = re.compile(
    r"(?i)(?:bearer|basic|token|key|secret|passw(?:or)?d|passwort|passphrase|pwd|auth|credentials?"
    r"|signature|\bpat)[\w\-]{0,20}[\"'`*]{0,3}\s{0,3}(?:[:=]{1,2}>?|->|\bis\b|\bist\b)?\s{0,3}[\"'`]{0,3}$"
)
_CONTEXT_CHARACTERS = 60
_TELEGRAM = re.compile(r"(?<![0-9])[0-9]{8,10}:$")
_SHORTEST_UNKNOWN = 16
_IDENTIFIER = re.compile(r"(?:[A-Za-z]+[0-9]{0,4}|[0-9]{1,4})(?:[._\-][A-Za-z]{0,40}[0-9]{0,4})++")
_ASSIGNED = re.compile(r"[A-Za-z0-9_\-.]{1,60}={1,2}")

_PASSWORD_WORD = re.compile(r"pass|pwd|PASS|PWD|Pass|Pwd")  # a fast search before the full pattern
_PASSWORD = re.compile(
    r"(?i)(?:passw(?:or)?d|passwort|passphrase|pwd)[\"'`*]{0,3}\s{0,3}(?:[:=]|\bis\b|\bist\b)\s{0,3}"
    r"[\"'`]?([^\s\"'`,;<>(){}\[\]]{6,100})"
)
_IN_URL = re.compile(r"://[^\s:/@]{0,64}:([^\s/@]{3,200})@(?=[^\s])")

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[\s>|]{0,20}(?:\\[nr]){0,4}(?:[A-Za-z0-9+/=]{16,}+|(?:Proc-Type|DEK-Info|Comment|Version):[^\n]{0,200}))*+"
    r"(?:[\s>|\\nr]{0,20}[A-Za-z0-9+/=]{0,80}[\s>|\\nr]{0,20}"
    r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_LINE = re.compile(r"[\s>|]{0,20}[A-Za-z0-9+/=]{1,80}\s{0,5}")
_PEM_LINES = 200  # even a 16,384-bit key has fewer


def find_keys(text: str) -> Iterator[Span]:
    """The keys, tokens and passwords in `text`, in any order; they may overlap."""
    found = sorted({*_find_pem(text), *_find_runs(text), *_find_passwords(text)})
    end = 0
    for start, stop in found:
        if stop > end:
            yield max(start, end), stop
            end = stop


# ── runs ──────────────────────────────────────────────────────────────────────────────────────
def _find_runs(text: str) -> Iterator[Span]:
    for run in _RUN.finditer(text):
        start, word = run.start(), run[0]
        has_form = False
        if _STARTS.search(word):
            for form in _FORM.finditer(word):
                has_form = True
                yield start + form.start(), start + form.end()
        if not has_form:
            yield from _find_by_context(text, start, word)


def _find_by_context(text: str, start: int, word: str) -> Iterator[Span]:
    """The run, if it looks random and a word like "token" precedes it."""
    assigned = _ASSIGNED.match(word)
    begin = assigned.end() if assigned is not None and assigned.end() < len(word) else 0
    value = word[begin:].rstrip(".")
    if not looks_random(value) or text.startswith("(", start + begin + len(value)):
        return
    before = text[max(0, start + begin - _CONTEXT_CHARACTERS) : start + begin]
    if _CONTEXT.search(before) or _TELEGRAM.search(before):
        yield start + begin, start + begin + len(value)


def looks_random(value: str) -> bool:
    """Whether `value` is long and mixes digits with letters, unlike any word or path."""
    if len(value) < _SHORTEST_UNKNOWN or "://" in value or value.startswith(("/", "./", "../")):
        return False
    if _IDENTIFIER.fullmatch(value):  # a name in a program, such as base64.b64decode
        return False
    digits = sum(map(str.isdigit, value))
    letters = sum(map(str.isalpha, value))
    return digits >= 2 and letters >= 2 and len(set(value)) >= 8


# ── passwords ─────────────────────────────────────────────────────────────────────────────────
def _find_passwords(text: str) -> Iterator[Span]:
    for found in _IN_URL.finditer(text):
        yield found.span(1)
    for word in _PASSWORD_WORD.finditer(text):
        password = _PASSWORD.match(text, word.start())
        if password is not None and _is_password(password[1]):
            yield password.start(1), password.start(1) + len(password[1].rstrip(".:"))


def _is_password(value: str) -> bool:
    """Whether `value` after "password:" can be one: "required", "str" or "os.environ" cannot."""
    has_digit = any(map(str.isdigit, value))
    has_letter = any(map(str.isalpha, value))
    has_sign = any(sign in value for sign in "!@#$%^&*?+~")
    return has_letter and (has_digit or has_sign) and not value.startswith(("$", "%", "http"))


# ── private keys ──────────────────────────────────────────────────────────────────────────────
def _find_pem(text: str) -> Iterator[Span]:
    if "PRIVATE KEY" not in text:
        return
    whole = [found.span() for found in _PEM.finditer(text)]
    yield from whole
    for end in _PEM_END.finditer(text):
        if not any(start < end.start() < stop for start, stop in whole):
            yield _headless(text, end.start()), end.end()


def _headless(text: str, end: int) -> int:
    """The start of a private key whose beginning was cut off."""
    start = end
    for _ in range(_PEM_LINES):
        line = text.rfind("\n", 0, max(0, start - 1)) + 1
        if start <= line or not _PEM_LINE.fullmatch(text, line, start):
            break
        start = line
    return start
