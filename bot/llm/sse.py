"""Server-sent events from bytes that are cut anywhere; pure, and bounded in memory."""

from __future__ import annotations

import json

# One event is one token with its frame (0.3 kB), or a usage chunk; a megabyte is no event.
MAX_EVENT_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry", b":")


class EventTooLong(ValueError):
    """An event is longer than `MAX_EVENT_BYTES`: this is no event stream."""


class EventDecoder:
    """Feed it bytes as they come; it gives back the data of every event that is complete.

    Lines end in LF, CRLF or CR; comments and fields other than `data` are ignored, with two
    exceptions, both of them errors. Older llama.cpp and gpustack send a line `error: {…}`, and an
    event may be named `error`: either comes back as an object with an `error`.
    """

    def __init__(self) -> None:
        self._rest = b""  # the line that is not complete yet
        self._data: list[bytes] = []  # the data lines of the event that is not complete yet
        self._failed = False  # whether that event is named `error`
        self.recognized = False  # whether there was a line of an event stream

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete. Raises EventTooLong."""
        if not (self._rest or self._data or self._failed) and _is_one_event(data):
            self.recognized = True
            return [data[6:-2]]
        text = self._rest + data
        if not self.recognized:
            text = text.removeprefix(_BOM)
        held = b""
        if b"\r" in text:
            # A CR at the end may be half of a CRLF.
            text, held = (text[:-1], b"\r") if text.endswith(b"\r") else (text, b"")
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest + held
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise EventTooLong(f"more than {MAX_EVENT_BYTES} bytes in one event")
        return self._events(lines)

    def flush(self) -> list[bytes]:
        """What is left at the end: some servers leave out the last empty line."""
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        return self._events([rest, b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                data = line[6:] if line.startswith(b"data: ") else line[5:]
                if self._data and _ends_before(self._data[-1], data):
                    events.extend(self._event())
                self._data.append(data)
            elif not line:
                events.extend(self._event())
                self._failed = False
            elif line.startswith(b"error:"):
                events.append(_error(line[6:].strip()))
            elif line.startswith(b"event:"):
                self._failed = line[6:].strip() == b"error"
            if line and not self.recognized:
                self.recognized = line.startswith((*_FIELDS, b"error:"))
        return [event for event in events if event]  # an empty one is no event, says the standard

    def _event(self) -> list[bytes]:
        """The event of the lines so far, if there are any."""
        if not self._data:
            return []
        data = b"\n".join(self._data)
        self._data.clear()
        return [_error(data) if self._failed else data]


def _ends_before(line: bytes, following: bytes) -> bool:
    """Whether the first of two data lines ends a chunk: some servers send no empty line between
    two, and no JSON goes on so."""
    begins = following.lstrip().startswith((b"{", b"[DONE]"))
    return begins and line.rstrip().endswith(b"}")


def _error(data: bytes) -> bytes:
    """The data of an event that is an error, with the error under its usual name."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = data.decode("utf-8", "replace")
    if isinstance(found, dict) and found.get("error"):
        return data
    return json.dumps({"error": found or "an error without words"}).encode()


def _is_one_event(data: bytes) -> bool:
    """Whether these bytes are what nearly all reads are: one event of one line."""
    ended = data.startswith(b"data: ") and data.endswith(b"\n\n")
    return ended and 8 < len(data) == data.find(b"\n") + 2 and b"\r" not in data
