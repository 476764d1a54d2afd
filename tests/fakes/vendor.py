"""What the fake vendors share: a real HTTP server in a thread, what it served, and faults on demand.

A fault is asked for by text in the last message, `[fault:NAME]`, or by a model called `fault-NAME`: a status
(`500`, `401`, `529`, `429` with Retry-After; `503=4` with one of 4 s), `slow` (2 s before the answer; `slow=0.3`), `held` (not
answered before a test's `holding_back` ends), `queued` (a stream that sends a comment and nothing else until then), `slow-stream`,
`slow-body` (a whole answer's head at once, its end after 10 s), `broken-body` (never), `hang`, `reset` (mid-stream), `stall` (mid-stream), `reset-at-once`, `reset-after=2`, `split-utf8` (every byte its own chunk), `crlf`,
`malformed-sse`, `not-json`, `html`, `no-usage`, `impossible-usage`, `usage-every-chunk`, `cut` (ends without its end),
`error` (the vendor's error event in mid-stream; `error-at-once`: as the first one), `blocked` (the content is refused),
`filtered` (the vendor's filter ends the answer before a word; `filtered-late`: after its words). `[say:words]` sets the answer's
text (U+E000 in it is written as half a surrogate, as by models that are cut), `[think:words]` its thoughts; `[in:N]`, `[cached:N]`, `[written:N]`, `[written1h:N]`, `[reasoning:N]` and
`[out:N]` its counts, `[searches:N]` how often its vendor searched for it (responses and messages), `[ticks:N]` what it says that the call has
cost, as xAI does. Where tools are offered and the last message is no tool's result, the first tool is called;
`[calls:N]` asks for it N times. After a tool's result, in which the same may be asked for, the answer quotes it.

A model called `reviewer-0.2` gives that score to whatever it is shown, in 50 tokens of input and 10 of output;
`reviewer-prose` gives none, and `reviewer-fault-NAME` has the fault. They heed no wishes: those are the reviewed call's.

A key that says `fault-401`, or another status, is refused with it whatever is asked.

`GET /_served` tells what was served, to be compared with the ledger (see Served); `POST /_reset` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

WORDS_OF_ANSWER = "Grüße aus dem Süden: naïve café, 東京 and 🚀 costs counted to the last token."
KEPT_REQUESTS = 200
ARGUMENTS = {"city": "Köln"}
HALF = "\ue000"
_WISH = re.compile(r"\[(\w+):([^\]]*)\]")
_GAP = b"\r\n\r\n"
_KEY_FAULT = re.compile(r"fault-(\d{3})")


@dataclass
class Served:
    """What the fake vendor would bill. `prompt_tokens` is all input and `completion_tokens` all output; the others
    are parts of them."""

    connections: int = 0  # that were opened to it
    calls: int = 0
    completed: int = 0
    streams_left: int = 0  # by their reader, before their end
    # Of streams that are not written to their end, or not yet: their whole input, and the words of their answers so far.
    unended_streams: int = 0
    unended_prompt_tokens: int = 0
    unended_words: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return vars(self) | {"requests": list(self.requests)}


@dataclass
class Answer:
    """One planned answer, in no vendor's words. `prompt` is plain input alone, `reasoning` beside `completion`."""

    text: str
    thoughts: str
    calls: list[tuple[str, dict[str, Any]]]
    fault: str
    prompt: int
    cached: int
    written: int
    written_1h: int
    completion: int
    reasoning: int
    searches: int = 0
    ticks: int | None = None

    @property
    def all_input(self) -> int:
        """Everything read."""
        return self.prompt + self.cached + self.written + self.written_1h

    @property
    def all_output(self) -> int:
        """Everything written, thoughts included."""
        return self.completion + self.reasoning


def plan(asked: str, *, model: str, tool: str | None, words: int, result: str = "") -> Answer:
    """The answer to a request whose last message says `asked`, or brings the `result` of tools. `tool` is to be called,
    if any; `words` are its input."""
    if model.startswith("reviewer-"):
        return _review(model.removeprefix("reviewer-"))
    wanted: dict[str, str] = dict(_WISH.findall(f"{asked} {result}"))
    fault = wanted.get("fault") or (model.removeprefix("fault-") if model.startswith("fault-") else "")
    calls = [(tool, dict(ARGUMENTS))] * int(wanted.get("calls", 1)) if tool else []
    quoted = " ".join(_WISH.sub(" ", result).split())
    text = "" if calls else wanted.get("say", f"The tool says: {quoted}" if quoted else WORDS_OF_ANSWER)
    thoughts = wanted.get("think", "")
    return Answer(
        text=text,
        thoughts=thoughts,
        calls=calls,
        fault=fault,
        prompt=int(wanted.get("in", words)),
        cached=int(wanted.get("cached", 0)),
        written=int(wanted.get("written", 0)),
        written_1h=int(wanted.get("written1h", 0)),
        completion=int(wanted.get("out", len(text.split()) + 5 * len(calls))),
        reasoning=int(wanted.get("reasoning", len(thoughts.split()))),
        searches=int(wanted.get("searches", 0)),
        ticks=int(wanted["ticks"]) if "ticks" in wanted else None,
    )


def _review(wish: str) -> Answer:
    fault = wish.removeprefix("fault-") if wish.startswith("fault-") else ""
    score = {"score": float(wish.rpartition("-")[2]), "why": "says the fake"} if wish[-1].isdigit() else {}
    text = json.dumps(score) if score else "I rather like it."
    return Answer(text, "", [], fault, 50, 0, 0, 0, 10, 0)


class FakeVendor:
    """Runs the server in a thread with an event loop of its own. A vendor says how it is asked and how it answers."""

    base_path = ""
    stream_type = "text/event-stream; charset=utf-8"
    # What it says of an answer beside it: its own id, and how often it may still be asked.
    named: Mapping[str, str] = {"x-request-id": "req_fake"}

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.served = Served()
        self.delay_seconds = 0.0
        self._is_holding_back = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"fake-{type(self).__name__}", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    # What each vendor says for itself.

    def serves(self, method: str, path: str) -> bool:
        """Whether a call is answered there."""
        raise NotImplementedError

    def plan(self, path: str, body: Mapping[str, Any]) -> Answer:
        """The answer to a request."""
        raise NotImplementedError

    def is_stream(self, path: str, body: Mapping[str, Any]) -> bool:
        """Whether a stream is asked for."""
        return bool(body.get("stream"))

    def whole(self, path: str, body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        """The answer as one body."""
        raise NotImplementedError

    def events(self, path: str, body: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
        """The answer as the events of a stream."""
        raise NotImplementedError

    def error(self, status: int, message: str) -> dict[str, Any]:
        """An error's body."""
        raise NotImplementedError

    def told_400(self, fault: str) -> dict[str, Any] | None:
        """The body of a 400 that is this vendor's own, None for a fault that is none."""
        return None

    def refusal(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Status and body where the vendor does not take such a request; None where it does."""
        return None

    def other(self, method: str, path: str) -> dict[str, Any] | None:
        """The answer of a route that serves no tokens, None where there is none."""
        return None

    def why_refused(self, path: str, headers: Mapping[str, str], raw: bytes) -> str | None:
        """Why the key, or the signature, of a request does not hold (403); None where it does."""
        return None

    @contextmanager
    def holding_back(self) -> Iterator[None]:
        """No call that says `[fault:held]` is answered before the block ends."""
        self._is_holding_back = True
        try:
            yield
        finally:
            self._is_holding_back = False

    # The server.

    @property
    def base_url(self) -> str:
        """What a provider row would say."""
        return f"http://127.0.0.1:{self.port}{self.base_path}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the fake vendor did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None and self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Serves until stopped."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serves one request; False when the connection is to be closed."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request_line, *header_lines = head.decode("latin-1").split("\r\n")
        method, path, _ = request_line.split(" ", 2)
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in header_lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if path == "/_served":
            _send_json(writer, 200, self.served.as_json())
        elif path == "/_reset":
            self.served = Served()
            _send_json(writer, 200, {})
        elif self.serves(method, path):
            return await self._call(reader, writer, path, headers, body)
        elif (other := self.other(method, path)) is not None:
            _send_json(writer, 200, other)
        else:
            _send_json(writer, 404, self.error(404, f"no route {method} {path}"))
        await writer.drain()
        return True

    async def _call(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, headers: Mapping[str, str],
        raw: bytes,
    ) -> bool:  # fmt: skip
        self.served.calls += 1
        if (why := self.why_refused(path, headers, raw)) is not None:
            _send_json(writer, 403, self.error(403, why))
            await writer.drain()
            return True
        body = json.loads(raw)
        self.served.requests.append({"path": path, "headers": dict(headers), "body": body})
        try:
            if (refused := self.refusal(path, body)) is not None:
                _send_json(writer, refused[0], refused[1], self.named)
                await writer.drain()
                return True
            answer = self.plan(path, body)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # A vendor says what it cannot read; a connection that just closes would look like an outage.
            _send_json(writer, 400, self.error(400, f"this body cannot be read: {type(error).__name__}"))
            await writer.drain()
            return True
        if refusal := _KEY_FAULT.search(headers.get("authorization", "")):
            answer.fault = refusal[1]
        name, _, argument = answer.fault.partition("=")
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if name == "slow":
            await asyncio.sleep(float(argument or 2))
            if reader.at_eof():
                return False
        elif name == "held":
            while self._is_holding_back:
                await asyncio.sleep(0.01)
            if reader.at_eof():
                return False
        elif name == "hang":
            await asyncio.sleep(3600)
        elif name == "reset-at-once":
            writer.transport.abort()
            return False
        elif name == "reset-after":
            await asyncio.sleep(float(argument))
            writer.transport.abort()
            return False
        elif name == "no-http":
            writer.write(b"HTTP/1.1 OK all is well\r\n\r\n")
            await writer.drain()
            return False
        if name == "html":
            _send(writer, 200, "text/html", b"<html>maintenance</html>")
        elif name == "error-in-200":
            _send_json(writer, 200, self.error(529, "overloaded on demand"))
        elif name == "not-json":
            _send(writer, 200, "application/json", b'{"id": "chatcmpl-')
        elif name.isdigit():
            pause = argument or ("7" if name == "429" else "")
            extra = {"retry-after": pause} if pause else {}
            _send_json(writer, int(name), self.error(int(name), f"fault {name} on demand"), {**self.named, **extra})
        elif (told := self.told_400(name)) is not None:
            _send_json(writer, 400, told, self.named)
        elif self.is_stream(path, body):
            try:
                return await self._stream(writer, path, body, answer, name)
            except ConnectionError:
                self.served.streams_left += 1
                raise
        elif name in ("slow-body", "broken-body"):
            answered = _answer_of(200, "application/json", to_json(self.whole(path, body, answer)), self.named)
            head, _, whole = answered.partition(_GAP)
            writer.write(head + _GAP + whole[:20])
            await writer.drain()
            if name == "broken-body":
                writer.transport.abort()
                return False
            await asyncio.sleep(10)
            if reader.at_eof():
                return False  # whoever asked has left, and was not served
            self._count(answer)
            writer.write(whole[20:])
        else:
            self._count(answer)
            _send_json(writer, 200, self.whole(path, body, answer), self.named)
        await writer.drain()
        return True

    async def _stream(
        self, writer: asyncio.StreamWriter, path: str, body: Mapping[str, Any], answer: Answer, fault: str
    ) -> bool:
        head = {"content-type": self.stream_type, **self.named, "transfer-encoding": "chunked"}
        lines = "".join(f"{header}: {value}\r\n" for header, value in head.items())
        writer.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
        if fault == "queued":
            _write_chunk(writer, b": queued\n\n")
            await writer.drain()
            while self._is_holding_back:
                await asyncio.sleep(0.01)
        events = list(self._faulty(self.events(path, body, answer), fault))
        words = _Words(answer)
        self._note_unended(answer, 1)
        for index, event in enumerate(events):
            if fault == "reset" and index == len(events) // 2:
                await writer.drain()
                writer.transport.abort()
                return False
            if fault == "stall" and index == len(events) // 2:
                await asyncio.sleep(3600)
            if fault == "cut" and index == len(events) // 2:
                break
            if fault == "bad-chunk" and index == len(events) // 2:
                await asyncio.sleep(0.1)
                writer.write(b"zz\r\n")
                await writer.drain()
                return False
            if fault == "no-blank-line" and index == len(events) - 1:
                event = event.rstrip(b"\n")
            if (fault, index) in (("error", len(events) // 2), ("error-at-once", 0)):
                _write_chunk(writer, self.error_event(path, 529, "overloaded on demand"))
                break
            pieces = [event[i : i + 1] for i in range(len(event))] if fault == "split-utf8" else [event]
            for piece in pieces:
                _write_chunk(writer, piece)
                if fault == "split-utf8":
                    await writer.drain()
                    await asyncio.sleep(0)
            self.served.unended_words += words.note_written(event)
            await writer.drain()
            if fault == "slow-stream":
                await asyncio.sleep(0.1)
        else:
            self._note_unended(answer, -1)
            self.served.unended_words -= words.written
            self._count(answer)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def error_event(self, path: str, status: int, message: str) -> bytes:
        """An error in mid-stream."""
        return sse(self.error(status, message))

    def _faulty(self, events: Iterator[bytes], fault: str) -> Iterator[bytes]:
        for index, event in enumerate(events):
            yield event.replace(b"\n", b"\r\n") if fault == "crlf" else event
            if fault == "malformed-sse" and index:
                yield b"data: {not json\n\n: a comment\n\nstrange: field\n\n"

    def _note_unended(self, answer: Answer, streams: int) -> None:
        self.served.unended_streams += streams
        self.served.unended_prompt_tokens += streams * answer.all_input

    def _count(self, answer: Answer) -> None:
        self.served.completed += 1
        self.served.prompt_tokens += answer.all_input
        self.served.completion_tokens += answer.all_output
        self.served.cache_read_tokens += answer.cached
        self.served.cache_write_tokens += answer.written
        self.served.cache_write_1h_tokens += answer.written_1h
        self.served.reasoning_tokens += answer.reasoning


class _Words:
    """How many words of an answer have been written: each is an event of its own, in every vendor's format."""

    def __init__(self, answer: Answer) -> None:
        self.written = 0
        self._pieces = [to_json(piece) for piece in pieces_of(answer.thoughts) + pieces_of(answer.text)]

    def note_written(self, event: bytes) -> int:
        """Whether the next word is in `event`: 0 or 1."""
        has_next = self.written < len(self._pieces) and self._pieces[self.written] in event
        self.written += has_next
        return int(has_next)


def words_in(value: Any) -> int:
    """How long an input is, for vendors who count words."""
    return len(str(value or "").split())


def text_in(content: Any) -> str:
    """What a message's content says, be it a text or a list of parts."""
    parts = content if isinstance(content, list) else [{"text": content or ""}]
    return " ".join(str(part.get("text", "")) for part in parts)


def pieces_of(text: str) -> list[str]:
    """A text as a stream brings it: word by word."""
    return re.findall(r"\s*\S+", text)


def bits_of(text: str, size: int = 6) -> list[str]:
    """A text in bits of `size` characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def sse(value: Any, event: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + to_json(value) + b"\n\n"


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8, but for HALF."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode().replace(HALF.encode(), b"\\ud83d")


def _write_chunk(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")


def _send_json(writer: asyncio.StreamWriter, status: int, value: Any, extra: Mapping[str, str] | None = None) -> None:
    _send(writer, status, "application/json", to_json(value), extra)


def _send(
    writer: asyncio.StreamWriter, status: int, content_type: str, body: bytes, extra: Mapping[str, str] | None = None
) -> None:
    writer.write(_answer_of(status, content_type, body, extra))


def _answer_of(status: int, content_type: str, body: bytes, extra: Mapping[str, str] | None = None) -> bytes:
    headers = {
        "content-type": content_type,
        "content-length": str(len(body)),
        **(extra or {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    phrase = "Overloaded" if status == 529 else HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode() + body


def run(vendor: type[FakeVendor]) -> None:
    """Serves on its own: `python -m tests.fakes.NAME --port 9000`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    fake = vendor(options.port)
    fake.delay_seconds = options.delay
    try:
        asyncio.run(fake.serve())
    except KeyboardInterrupt:
        pass
