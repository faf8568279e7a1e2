"""The Markdown that models write: blocks, inline markup, and mending of half-written markup."""
