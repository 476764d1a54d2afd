"""Server-sent events, however the network has cut them up. Source: WHATWG HTML, section 9.2.6."""

from __future__ import annotations

from dataclasses import dataclass

MAX_EVENT_BYTES = 16 * 1024 * 1024


class BrokenStream(ValueError):
    """An event is larger than any vendor sends, or is cut off."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event; `data` is the joined data lines, undecoded, so that no character can be cut in two."""

    data: bytes
    event: str = ""

    def encode(self) -> bytes:
        """The event as it goes over the wire."""
        head = b"event: " + self.event.encode() + b"\n" if self.event else b""
        return head + b"".join(b"data: " + line + b"\n" for line in self.data.split(b"\n")) + b"\n"


class SseDecoder:
    """Turns chunks of bytes into events. Lines may end in LF, CRLF or CR, and a chunk anywhere."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self._is_first_line = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that `chunk` completes. Raises BrokenStream when one grows beyond all reason."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        self._pending += chunk
        if b"\r" in self._pending:
            # The other half of a CRLF may be in the next chunk; a CR ends the line already.
            self._after_cr = self._pending.endswith(b"\r")
            self._pending = bytearray(bytes(self._pending).replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        if len(self._pending) + self._size > MAX_EVENT_BYTES and b"\n" not in chunk:
            raise BrokenStream(f"an event of more than {MAX_EVENT_BYTES} bytes")
        lines = bytes(self._pending).split(b"\n")
        self._pending = bytearray(lines.pop())
        events = []
        for line in lines:
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def end(self) -> None:
        """Says that no more comes. Raises BrokenStream when an event was cut off in the middle."""
        if self._pending.strip() or self._data:
            raise BrokenStream("the stream ended inside an event")

    def _take(self, line: bytes) -> SseEvent | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._complete()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value)
            if self._size > MAX_EVENT_BYTES:
                raise BrokenStream(f"an event of more than {MAX_EVENT_BYTES} bytes")
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        return None

    def _complete(self) -> SseEvent | None:
        event = SseEvent(b"\n".join(self._data), self._event) if self._data else None
        self._data, self._size, self._event = [], 0, ""
        return event
