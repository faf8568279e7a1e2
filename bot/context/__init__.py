"""Gathers what the model gets: system prompt, history and attachments, within its window."""
