"""The core of Threadline: conversations, turns and streaming replies; it names no platform."""

__version__ = "0.1.0"
