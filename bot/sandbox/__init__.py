"""Runs parsers of untrusted bytes in a limited child process."""
