"""Decodes server-sent events from arbitrarily split bytes, with bounded memory."""

from __future__ import annotations

import json

# An event is one token with its framing (0.3 kB), or a usage chunk. The last events of the
# Responses API repeat the whole answer and the instructions: 128 k tokens of escaped Chinese take 1
# MB.
MAX_EVENT_BYTES = 8 << 20
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry", b":")

# Names of events whose data is not part of the answer: older sse-starlette sends the time in them.
_HEARTBEATS = frozenset({b"ping", b"keepalive", b"keep-alive", b"keep_alive", b"heartbeat"})


class EventTooLong(ValueError):
    """An event exceeds `MAX_EVENT_BYTES`: this is not an event stream."""


class EventDecoder:
    """Takes bytes as they arrive and returns the data of every complete event.

    Lines end in LF, CRLF or CR. Comments, heartbeats and fields other than `data` are ignored,
    except for two kinds of errors, which are returned as an object with an `error`: the line
    `error: {…}` from older llama.cpp and gpustack, and an event named `error`.
    """

    def __init__(self) -> None:
        self._line = bytearray()  # the incomplete line
        self._data: list[bytes] = []  # the data lines of the incomplete event
        self._data_bytes = 0
        self._name = b""  # the incomplete event's name
        self.recognized = False  # the first line of an event stream has arrived

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete; raises EventTooLong."""
        if not (self._line or self._data or self._name) and _is_one_event(data):
            self.recognized = True
            return [data[6:-2]]
        if self._continues_line(data):
            self._line += data
            self._check_length()
            return []
        text = bytes(self._line) + data
        if not self.recognized:
            text = text.removeprefix(_BOM)
        held = b""
        if b"\r" in text:
            # A CR at the end may be half of a CRLF.
            text, held = (text[:-1], b"\r") if text.endswith(b"\r") else (text, b"")
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._line = bytearray(rest + held)
        self._check_length()
        return self._decode(lines)

    def _continues_line(self, data: bytes) -> bool:
        """Whether these bytes only extend the line. A long line in many short reads would otherwise
        be copied and split each time."""
        started = len(self._line) >= len(_BOM) and not self._line.endswith(b"\r")
        return started and b"\n" not in data and b"\r" not in data

    def _check_length(self) -> None:
        if len(self._line) + self._data_bytes > MAX_EVENT_BYTES:
            raise EventTooLong(f"more than {MAX_EVENT_BYTES} bytes in one event")

    def flush(self) -> list[bytes]:
        """The last event, for servers that omit the final empty line."""
        line, self._line = bytes(self._line).rstrip(b"\r"), bytearray()
        return self._decode([line, b""])

    def _decode(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                data = line[6:] if line.startswith(b"data: ") else line[5:]
                if self._data and _is_chunk_boundary(self._data[-1], data):
                    events.extend(self._end_event())
                self._data.append(data)
                self._data_bytes += len(data)
            elif not line:
                events.extend(self._end_event())
                self._name = b""
            elif line.startswith(b"error:"):
                events.append(_wrap_error(line[6:].strip()))
            elif line.startswith(b"event:"):
                self._name = line[6:].strip()
            if line and not self.recognized:
                self.recognized = line.startswith((*_FIELDS, b"error:"))
        return [event for event in events if event]  # the standard ignores events without data

    def _end_event(self) -> list[bytes]:
        """The event in the data lines so far, if there is one."""
        if not self._data:
            return []
        data = b"\n".join(self._data)
        self._data.clear()
        self._data_bytes = 0
        if self._name in _HEARTBEATS:
            return []
        return [_wrap_error(data) if self._name == b"error" else data]


def _is_chunk_boundary(line: bytes, following: bytes) -> bool:
    """Whether a chunk ends between two data lines: some servers omit the empty line there.

    No JSON value continues this way.
    """
    begins = following.lstrip().startswith((b"{", b"[DONE]"))
    return begins and line.rstrip().endswith(b"}")


def _wrap_error(data: bytes) -> bytes:
    """The data of an error event, with the error under the usual key."""
    try:
        error = json.loads(data)
    except (ValueError, RecursionError):
        error = data.decode("utf-8", "replace")
    if isinstance(error, dict) and error.get("error"):
        return data
    return json.dumps({"error": error or "an error without a message"}).encode()


def _is_one_event(data: bytes) -> bool:
    """Whether a read is one event of one line, as nearly all reads are."""
    complete = data.startswith(b"data: ") and data.endswith(b"\n\n")
    return complete and 8 < len(data) == data.find(b"\n") + 2 and b"\r" not in data
