"""Replies: one growing Markdown document, published page by page."""
