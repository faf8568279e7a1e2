"""Catches up on messages, edits and deletions that were missed while disconnected."""
