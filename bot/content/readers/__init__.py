"""Parsers of attached files, one module per kind. They run only in the sandbox's child process.

Invariant: the bot's process imports nothing from here except `packing`. The child may not open
files, so every module imports everything that it needs at its top.
"""
