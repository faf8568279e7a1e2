"""The pages that people see while they install the app.

They load and run nothing: their policy allows one style sheet, identified by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from bot.domain import install_texts

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}"
    "a.button{display:inline-block;padding:.6rem 1.2rem;border-radius:.4rem;"
    "background:#2c2d72;color:#fff;text-decoration:none}"
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def install_page(authorize_url: str) -> str:
    """The page with the link to Slack."""
    return _page(install_texts.TITLE, install_texts.INSTALL, authorize_url, install_texts.ADD)


def installed_page(name: str, open_url: str) -> str:
    """The page after a success."""
    text = install_texts.installed(name)
    return _page(install_texts.DONE_TITLE, text, open_url, install_texts.OPEN)


def failure_page(text: str, again: str = "") -> str:
    """The page after a failure; `again` is the address to start again, "" if there is none."""
    return _page(install_texts.FAILED_TITLE, text, again, install_texts.AGAIN)


def _page(title: str, text: str, link: str, label: str) -> str:
    button = (
        f'<p><a class="button" rel="noreferrer" href="{escape(link)}">{escape(label)}</a></p>'
        if link
        else ""
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{escape(text)}</p>{button}</html>"
    )
