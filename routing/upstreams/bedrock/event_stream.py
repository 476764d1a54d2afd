"""Amazon's event streams as server-sent events, so that everything behind it reads one kind of stream.

A message is a prelude (its length, that of its headers, a checksum of both), headers, a payload and a checksum of all
before it; numbers are big-endian, checksums CRC32. Here each becomes `data: {"NAME": PAYLOAD}`, the shape of the
service's own union, where NAME is its `:event-type` or `:exception-type`.
Source: smithy.io, "Amazon Event Stream Specification". Why we read it ourselves: docs/decisions/0037.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Mapping
from zlib import crc32

from routing.upstreams.json_objects import encode
from routing.upstreams.sse import BrokenStream

CONTENT_TYPE = "application/vnd.amazon.eventstream"
PRELUDE_BYTES = 12
CHECKSUM_BYTES = 4
# The format's own limits.
MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
_STRING = 7
# Lengths of the values of each type of header; strings and bytes say theirs.
_LENGTHS: Mapping[int, int] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_SIZED = (6, _STRING)
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


class EventStreamDecoder:
    """Turns chunks of an event stream into server-sent events. A chunk may end anywhere."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._broken: BrokenStream | None = None

    def take(self, chunk: bytes) -> bytes:
        """The messages that `chunk` completes, as server-sent events. Raises BrokenStream for one whose checksum or
        length is wrong, with the next chunk where others came before it: what was whole is handed on."""
        if self._broken is not None:
            raise self._broken
        self._pending += chunk
        complete: list[bytes] = []
        try:
            while (message := self._next_message()) is not None:
                complete.append(_as_event(message))
        except BrokenStream as error:
            if not complete:
                raise
            self._broken = error
        return b"".join(complete)

    def end(self) -> bytes:
        """Says that no more comes, which completes nothing: b"". Raises BrokenStream when a message was broken, or cut
        off in the middle."""
        if self._broken is not None:
            raise self._broken
        if self._pending:
            raise BrokenStream("the stream ended inside an event")
        return b""

    def _next_message(self) -> tuple[Mapping[str, str], bytes] | None:
        """Headers and payload of the next whole message, None where more has to come first."""
        pending = self._pending
        if len(pending) < PRELUDE_BYTES:
            return None
        total, headers_length, checksum = struct.unpack_from("!III", pending)
        if crc32(pending[: PRELUDE_BYTES - CHECKSUM_BYTES]) != checksum:
            raise BrokenStream("an event whose prelude does not have its checksum")
        payload_length = total - PRELUDE_BYTES - headers_length - CHECKSUM_BYTES
        if headers_length > MAX_HEADERS_BYTES or not 0 <= payload_length <= MAX_PAYLOAD_BYTES:
            raise BrokenStream(f"an event of {total} bytes with {headers_length} bytes of headers")
        if len(pending) < total:
            return None
        message = bytes(pending[:total])
        del pending[:total]
        if crc32(message[:-CHECKSUM_BYTES]) != struct.unpack("!I", message[-CHECKSUM_BYTES:])[0]:
            raise BrokenStream("an event that does not have its checksum")
        end_of_headers = PRELUDE_BYTES + headers_length
        return _headers(message[PRELUDE_BYTES:end_of_headers]), message[end_of_headers:-CHECKSUM_BYTES]


@functools.lru_cache(maxsize=64)
def _headers(raw: bytes) -> Mapping[str, str]:
    """The headers that are texts; all others are passed over. Those of all events of one kind are the same."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(raw):
            end = at + 1 + raw[at]
            name, kind = raw[at + 1 : end].decode(), raw[end]
            at = end + 1
            if kind in _SIZED:
                length = int(struct.unpack_from("!H", raw, at)[0])
                at += 2
            else:
                length = _LENGTHS[kind]
            if at + length > len(raw):
                raise BrokenStream("an event whose headers are longer than they say")
            if kind == _STRING:
                found[name] = raw[at : at + length].decode()
            at += length
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise BrokenStream("an event whose headers cannot be read") from None
    return found


def _as_event(message: tuple[Mapping[str, str], bytes]) -> bytes:
    headers, payload = message
    kind = headers.get(":message-type", "event")
    if kind == "error":
        # One that the service's model does not know: it has no payload.
        said = {"type": headers.get(":error-code", ""), "message": headers.get(":error-message", "")}
        return b'data: {"error":' + encode(said) + b"}\n\n"
    name = headers.get(":exception-type" if kind == "exception" else ":event-type", "")
    if not _NAME.fullmatch(name):
        raise BrokenStream(f"an event without a name: {kind[:40]!r}")
    # Inside a JSON text a line break is escaped: any other is mere space.
    plain = payload.translate(_LINE_BREAKS).strip() or b"{}"
    return b'data: {"' + name.encode() + b'":' + plain + b"}\n\n"
