"""The Protocols between the core and what it runs on."""
