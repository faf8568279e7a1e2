"""Parsers of attached files, one module per kind. They run in the sandbox's child process only.

Invariant: nothing here is imported in the bot's process, except `packing`. The child may not open
a file, so every module imports at its top all that it needs.
"""
