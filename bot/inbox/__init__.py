"""The inbox: stores messages, commands and edits before they are acknowledged."""
