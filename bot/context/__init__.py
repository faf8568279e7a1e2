"""Assembles what the model receives: system prompt, history and attachments, within its window."""
