"""The Markdown that models write: blocks, inline markup, and completion of half-written markup."""
