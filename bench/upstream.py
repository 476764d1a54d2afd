"""A vendor that costs almost nothing: answers every request with the same chat completion, or streams it.

Run as `python -m bench.upstream PORT`. A stream asked for by the user HOLD stays open, with a chunk every two
seconds, until RELEASE_PATH is asked for. Only for benchmarks; tests/fakes/ has the one that speaks the
full wire format.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import ClassVar

ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-5-mini",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Certainly. " * 20}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 40, "completion_tokens": 42, "total_tokens": 82},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)

STREAM_CHUNKS = 200
HOLD = "bench-hold"
HELD_CHUNK_SECONDS = 2.0
RELEASE_PATH = "/bench/release"


def _event(delta: dict[str, object], usage: dict[str, int] | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "gpt-5-mini",
        "choices": [] if usage else [{"index": 0, "delta": delta, "finish_reason": None}],
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_EVENTS = [_event({"content": "word "}) for _ in range(STREAM_CHUNKS)]
_EVENT_CHUNK = b"%x\r\n%s\r\n" % (len(STREAM_EVENTS[0]), STREAM_EVENTS[0])
STREAM_END = _event({}, {"prompt_tokens": 40, "completion_tokens": 200, "total_tokens": 240}) + b"data: [DONE]\n\n"


class Vendor(asyncio.Protocol):
    """Reads requests with a content-length, one after the other, and answers each at once."""

    held: ClassVar[set[Vendor]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = b""

    def connection_lost(self, error: Exception | None) -> None:
        self.held.discard(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.received[:end].lower()
            start = head.find(b"content-length:")
            length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            if len(self.received) < end + 4 + length:
                return
            body, self.received = self.received[end + 4 : end + 4 + length], self.received[end + 4 + length :]
            if head.startswith(b"post " + RELEASE_PATH.encode()):
                self.transport.write(HEAD + ANSWER)  # type: ignore[attr-defined]  # a TCP transport
                self._release()
            elif HOLD.encode() in body:
                self.transport.write(STREAM_HEAD)  # type: ignore[attr-defined]  # a TCP transport
                self.held.add(self)
                self._send_held()
            elif b'"stream":true' in body.replace(b" ", b""):
                self._stream()
            else:
                self.transport.write(HEAD + ANSWER)  # type: ignore[attr-defined]  # a TCP transport

    def _send_held(self) -> None:
        if self in self.held:
            self.transport.write(_EVENT_CHUNK)  # type: ignore[attr-defined]  # a TCP transport
            asyncio.get_running_loop().call_later(HELD_CHUNK_SECONDS, self._send_held)

    def _release(self) -> None:
        for each in tuple(self.held):
            self.held.discard(each)
            end = b"%x\r\n%s\r\n0\r\n\r\n" % (len(STREAM_END), STREAM_END)
            each.transport.write(end)  # type: ignore[attr-defined]  # a TCP transport

    def _stream(self) -> None:
        write = self.transport.write  # type: ignore[attr-defined]  # a TCP transport
        write(STREAM_HEAD)
        for event in (*STREAM_EVENTS, STREAM_END):
            write(b"%x\r\n%s\r\n" % (len(event), event))
        write(b"0\r\n\r\n")


async def serve(port: int) -> None:
    """Answers on the loopback until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
