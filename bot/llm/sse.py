"""Server-sent events from bytes that are cut anywhere; pure, and bounded in memory."""

from __future__ import annotations

# One event is one token with its frame (0.3 kB), or a usage chunk; a megabyte is no event.
MAX_EVENT_BYTES = 1 << 20


class EventTooLong(ValueError):
    """An event is longer than `MAX_EVENT_BYTES`: this is no event stream."""


class EventDecoder:
    """Feed it bytes as they come; it gives back the data of every event that is complete.

    Lines end in LF, CRLF or CR; comments and fields other than `data` are ignored.
    """

    def __init__(self) -> None:
        self._rest = b""  # the line that is not complete yet
        self._data: list[bytes] = []  # the data lines of the event that is not complete yet

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete. Raises EventTooLong."""
        if not (self._rest or self._data) and _is_one_event(data):
            return [data[6:-2]]
        text = self._rest + data
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
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        return [event for event in events if event]  # an empty one is no event, says the standard


def _is_one_event(data: bytes) -> bool:
    """Whether these bytes are what nearly all reads are: one event of one line."""
    ended = data.startswith(b"data: ") and data.endswith(b"\n\n")
    return ended and 8 < len(data) == data.find(b"\n") + 2 and b"\r" not in data
