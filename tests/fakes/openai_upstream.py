"""A vendor for tests: a real HTTP server that speaks OpenAI's chat completions, faults on demand.

In the test's process: `with FakeOpenAI() as upstream: upstream.base_url`. On its own:
`python -m tests.fakes.openai_upstream --port 9000`, its base URL then is http://127.0.0.1:9000/v1.

A fault is asked for by text in the last message, `[fault:NAME]`, or by a model called `fault-NAME`: a status
(`500`, `401`, `429` with Retry-After), `slow` (2 s before the answer; `slow=0.3`), `slow-stream`, `hang`,
`reset` (mid-stream), `stall` (mid-stream), `reset-at-once`, `split-utf8` (every byte its own chunk), `crlf`, `malformed-sse`, `not-json`, `html`, `no-usage`,
`impossible-usage`, `usage-every-chunk`, `cut` (ends without [DONE]). `[say:words]` sets the answer's text; `[in:N]`,
`[cached:N]`, `[written:N]`, `[reasoning:N]` and `[out:N]` its counts.

`GET /_served` tells what was served, to be compared with the ledger: {"calls", "completed", "prompt_tokens",
"completion_tokens", "requests": [...]}; `POST /_reset` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

WORDS_OF_ANSWER = "Grüße aus dem Süden: naïve café, 東京 and 🚀 costs counted to the last token."
KEPT_REQUESTS = 200


@dataclass
class Served:
    """What the fake vendor would bill."""

    calls: int = 0
    completed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))


@dataclass
class Answer:
    """One planned answer."""

    text: str
    tool_calls: list[dict[str, Any]]
    usage: dict[str, Any]
    fault: str

    @property
    def finish_reason(self) -> str:
        """Why it ended."""
        return "tool_calls" if self.tool_calls else "stop"


class FakeOpenAI:
    """Runs the server in a thread with an event loop of its own."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.served = Served()
        self.delay_seconds = 0.0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-openai", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def base_url(self) -> str:
        """What a provider row would say."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeOpenAI:
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
        elif path == "/v1/models":
            _send_json(writer, 200, {"object": "list", "data": []})
        elif path == "/v1/chat/completions" and method == "POST":
            return await self._chat(writer, headers, body)
        else:
            _send_json(writer, 404, _error(404, f"no route {method} {path}"))
        await writer.drain()
        return True

    async def _chat(self, writer: asyncio.StreamWriter, headers: Mapping[str, str], raw: bytes) -> bool:
        self.served.calls += 1
        body = json.loads(raw)
        if len(self.served.requests) < KEPT_REQUESTS:
            self.served.requests.append({"headers": dict(headers), "body": body})
        answer = _plan(body)
        name, _, argument = answer.fault.partition("=")
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if name == "slow":
            await asyncio.sleep(float(argument or 2))
        elif name == "hang":
            await asyncio.sleep(3600)
        elif name == "reset-at-once":
            writer.transport.abort()
            return False
        if name == "html":
            _send(writer, 200, "text/html", b"<html>maintenance</html>")
        elif name == "not-json":
            _send(writer, 200, "application/json", b'{"id": "chatcmpl-')
        elif name.isdigit():
            extra = {"retry-after": "7"} if name == "429" else {}
            _send_json(writer, int(name), _error(int(name), f"fault {name} on demand"), extra)
        elif body.get("stream"):
            return await self._stream(writer, body, answer, name)
        else:
            self._count(answer)
            _send_json(writer, 200, _completion(body, answer))
        await writer.drain()
        return True

    async def _stream(self, writer: asyncio.StreamWriter, body: Mapping[str, Any], answer: Answer, fault: str) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_fake\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        events = list(_events(body, answer, fault))
        for index, event in enumerate(events):
            if fault == "reset" and index == len(events) // 2:
                await writer.drain()
                writer.transport.abort()
                return False
            if fault == "stall" and index == len(events) // 2:
                await asyncio.sleep(3600)
            if fault == "cut" and index == len(events) // 2:
                break
            pieces = [event[i : i + 1] for i in range(len(event))] if fault == "split-utf8" else [event]
            for piece in pieces:
                writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                if fault == "split-utf8":
                    await writer.drain()
                    await asyncio.sleep(0)
            await writer.drain()
            if fault == "slow-stream":
                await asyncio.sleep(0.1)
        else:
            self._count(answer)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _count(self, answer: Answer) -> None:
        self.served.completed += 1
        self.served.prompt_tokens += answer.usage["prompt_tokens"]
        self.served.completion_tokens += answer.usage["completion_tokens"]


def _plan(body: Mapping[str, Any]) -> Answer:
    last = body["messages"][-1]
    content = last.get("content")
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content)
    content = content or ""
    asked = dict(re.findall(r"\[(\w+):([^\]]*)\]", content))
    fault = asked.get("fault", "")
    if not fault and str(body.get("model")).startswith("fault-"):
        fault = str(body["model"]).removeprefix("fault-")
    text = asked.get("say", WORDS_OF_ANSWER)
    tools = body.get("tools") or []
    calls: list[dict[str, Any]] = []
    if tools and last.get("role") == "user" and body.get("tool_choice") != "none":
        function = {"name": tools[0]["function"]["name"], "arguments": json.dumps({"city": "Köln"}, ensure_ascii=False)}
        calls, text = [{"id": "call_1", "type": "function", "function": function}], ""
    prompt = int(asked.get("in", sum(_count_words(message) for message in body["messages"]) + 3))
    completion = int(asked.get("out", len(text.split()) + 5 * len(calls)))
    reasoning = int(asked.get("reasoning", 0))
    cached, written = int(asked.get("cached", 0)), int(asked.get("written", 0))
    usage = {
        "prompt_tokens": prompt + cached + written,
        "completion_tokens": completion + reasoning,
        "total_tokens": prompt + cached + written + completion + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }
    return Answer(text, calls, usage, fault)


def _completion(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    if answer.tool_calls:
        message["tool_calls"] = answer.tool_calls
    whole = {
        **_head(body, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}],
    }
    return whole if answer.fault == "no-usage" else {**whole, "usage": _usage(answer)}


def _events(body: Mapping[str, Any], answer: Answer, fault: str) -> Iterator[bytes]:
    options = body.get("stream_options") or {}
    includes_usage = bool(options.get("include_usage")) and fault != "no-usage"
    head = _head(body, "chat.completion.chunk")
    end = b"\r\n\r\n" if fault == "crlf" else b"\n\n"
    if includes_usage:
        head["usage"] = _usage(answer) if fault == "usage-every-chunk" else None

    def event(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return b"data: " + _json({**head, "choices": [choice]}) + end

    yield event({"role": "assistant", "content": None if answer.tool_calls else "", "refusal": None})
    for piece in re.findall(r"\s*\S+", answer.text):
        yield event({"content": piece})
        if fault == "malformed-sse":
            yield b"data: {not json" + end + b": a comment" + end + b"strange: field" + end
    for index, call in enumerate(answer.tool_calls):
        function = call["function"]
        yield event({"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]})
        for start in range(0, len(function["arguments"]), 6):
            piece = function["arguments"][start : start + 6]
            yield event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield event({}, answer.finish_reason)
    if includes_usage:
        yield b"data: " + _json({**head, "choices": [], "usage": _usage(answer)}) + end
    yield b"data: [DONE]" + end


def _usage(answer: Answer) -> dict[str, Any]:
    if answer.fault == "impossible-usage":
        return {**answer.usage, "prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 999}}
    return answer.usage


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-fake{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": body.get("model"),
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _count_words(message: Mapping[str, Any]) -> int:
    return 4 + len(str(message.get("content") or "").split())


def _error(status: int, message: str) -> dict[str, Any]:
    kinds = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
    return {"error": {"message": message, "type": "fake_error", "param": None, "code": kinds.get(status)}}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _send_json(writer: asyncio.StreamWriter, status: int, value: Any, extra: Mapping[str, str] | None = None) -> None:
    _send(writer, status, "application/json", _json(value), extra)


def _send(
    writer: asyncio.StreamWriter, status: int, content_type: str, body: bytes, extra: Mapping[str, str] | None = None
) -> None:
    headers = {
        "content-type": content_type,
        "content-length": str(len(body)),
        "x-request-id": "req_fake",
        **(extra or {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode() + body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    fake = FakeOpenAI(options.port)
    fake.delay_seconds = options.delay
    try:
        asyncio.run(fake.serve())
    except KeyboardInterrupt:
        pass
