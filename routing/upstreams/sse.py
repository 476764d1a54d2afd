"""Server-sent events, however the network has cut them up. Source: WHATWG HTML, section 9.2.6.

Vendors send hundreds of events per answer, nearly all of one `data:` line: those are cut out of a chunk whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from routing.upstreams.json_objects import readable_object

MAX_EVENT_BYTES = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK_LINE = b"\n\n"
# The one word of a vendor's that is no JSON: OpenAI's streams end with it.
DONE = b"[DONE]"


class BrokenStream(ValueError):
    """An event is larger than any vendor sends, or is cut off."""


@dataclass(slots=True)  # not frozen: that makes each of hundreds cost three times as much to build
class SseEvent:
    """One event; `data` is the joined data lines, undecoded, so that no character can be cut in two."""

    data: bytes
    event: str = ""

    def encode(self) -> bytes:
        """The event as it goes over the wire."""
        if not self.event and b"\n" not in self.data:
            return b"data: " + self.data + _BLANK_LINE
        head = b"event: " + self.event.encode() + b"\n" if self.event else b""
        return head + b"".join(b"data: " + line + b"\n" for line in self.data.split(b"\n")) + b"\n"


@dataclass(slots=True)
class NotedEvent(SseEvent):
    """An event with lines that are no data: comments, `id` and `retry`, which its vendor's own clients are given.
    `before` and `after` are whole lines, and blank ones where they are blocks of their own."""

    before: bytes = b""
    after: bytes = b""

    def encode(self) -> bytes:
        """See SseEvent."""
        return self.before + SseEvent.encode(self) + self.after


class SseDecoder:
    """Turns chunks of bytes into events. Lines may end in LF, CRLF or CR, and a chunk anywhere."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._is_at_start = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that `chunk` completes. Raises BrokenStream when one grows beyond all reason."""
        return events_in(self.take(chunk))

    def take(self, chunk: bytes) -> bytes:
        """What `chunk` completes, as it came, but for lines that end in LF alone; b"" for nothing yet.
        Raises BrokenStream as `feed` does."""
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_plain_ends(chunk)
        # A blank line may have begun at the end of the chunk before.
        searched = max(len(self._pending) - 1, 0)
        self._pending += chunk
        end = self._pending.rfind(_BLANK_LINE, searched)
        if len(self._pending) > MAX_EVENT_BYTES:
            _refuse_giants(self._pending)
        if end < 0:
            return b""
        end += len(_BLANK_LINE)
        complete = bytes(self._pending[:end])
        del self._pending[:end]
        if self._is_at_start:
            self._is_at_start = False
            complete = complete.removeprefix(_BYTE_ORDER_MARK)
        return complete

    def end(self) -> bytes:
        """Says that no more comes. A last event that lacks nothing but its blank line is given as `take` gives it;
        b"" where nothing was left. Raises BrokenStream when an event was cut off in the middle."""
        left = bytes(self._pending)
        self._pending.clear()
        if self._is_at_start:
            left = left.removeprefix(_BYTE_ORDER_MARK)
        complete_lines, _, cut_line = left.rpartition(b"\n")
        if not cut_line.strip() and _read(complete_lines) is None:
            return b""
        left = left.strip(b"\n")
        event = _read(left)
        if event is None or not is_whole(event.data):
            raise BrokenStream("the stream ended inside an event")
        return left + _BLANK_LINE

    def _with_plain_ends(self, chunk: bytes) -> bytes:
        """The chunk with LF alone. A CR ends the line already; the other half of a CRLF may be in the next chunk."""
        rest = chunk.removeprefix(b"\n") if self._after_cr else chunk
        if chunk:
            self._after_cr = rest.endswith(b"\r")
        return rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


class UnreadEvents(Sequence[tuple[SseEvent, None]]):
    """Events that go on as they came, `raw`: none of them has been looked at. They are read when somebody iterates.
    There may be none, but comments alone."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._read: list[tuple[SseEvent, None]] | None = None

    def __len__(self) -> int:
        # No line break stands unescaped inside JSON, so this is how many there are.
        return self.raw.count(b"\ndata:") + self.raw.startswith(b"data:")

    @overload
    def __getitem__(self, index: int) -> tuple[SseEvent, None]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[SseEvent, None]]: ...
    def __getitem__(self, index: int | slice) -> tuple[SseEvent, None] | Sequence[tuple[SseEvent, None]]:
        if self._read is None:
            self._read = [(event, None) for event in events_in(self.raw)]
        return self._read[index]


def events_in(complete: bytes) -> list[SseEvent]:
    """The events of a stretch of stream that ends with a whole one, its lines in LF."""
    return read_all(complete)[0]


def read_all(complete: bytes) -> tuple[list[SseEvent], bytes]:
    """The same, and what stands behind the last event: comments, which belong to none."""
    events: list[SseEvent] = []
    comments = b""
    for block in complete.split(_BLANK_LINE):
        if not block:
            continue
        event = _read(block)
        if event is None:
            comments += _as_block(block)
        elif comments:
            events.append(noted(event, before=comments))
            comments = b""
        else:
            events.append(event)
    return events, comments


def noted(event: SseEvent, *, before: bytes = b"", after: bytes = b"") -> SseEvent:
    """The event with more lines around it."""
    if isinstance(event, NotedEvent):
        before, after = before + event.before, event.after + after
    return NotedEvent(event.data, event.event, before, after)


def data_in(pieces: Sequence[bytes]) -> list[bytes]:
    """The data of all events in `pieces`, each as `events_in` takes it."""
    return [event.data for complete in pieces for event in events_in(complete)]


def _refuse_giants(pending: bytearray) -> None:
    if any(len(block) > MAX_EVENT_BYTES for block in pending.split(_BLANK_LINE)):
        raise BrokenStream(f"an event of more than {MAX_EVENT_BYTES} bytes")


def is_whole(data: bytes) -> bool:
    """Whether an event's data is what vendors send, to its end: no object that was cut off is, nor what a proxy has
    written in a vendor's place."""
    return data == DONE or readable_object(data) is not None


def _read(block: bytes) -> SseEvent | None:
    """The event that the lines of `block` are; None for one without data."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return SseEvent(block[6:])
    data: list[bytes] = []
    others = b""
    kind = ""
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value.decode("utf-8", "replace")
        elif line:
            others += line + b"\n"
    if not data:
        return None
    return NotedEvent(b"\n".join(data), kind, others) if others else SseEvent(b"\n".join(data), kind)


def _as_block(lines: bytes) -> bytes:
    """Lines without data, as a block of their own; b"" where all are blank."""
    lines = lines.strip(b"\n")
    return lines + _BLANK_LINE if lines else b""
