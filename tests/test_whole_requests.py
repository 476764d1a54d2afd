"""The web plane is asked for whole requests only: half a body keeps no thread, and is answered in the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, MutableMapping
from typing import Any

from django.conf import settings

from spendhub.whole_requests import Application, Message, Receive, Send, WholeRequests

LARGE = 64 * 1024 + 1
TOO_LARGE = 33 * 1024 * 1024 + 1


class Web:
    """The web plane: answers 200 with how often it was asked, and keeps the bodies it was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        message = await receive()
        assert not message["more_body"]
        self.bodies.append(message["body"])
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


async def asked(
    door: Application,
    length: int | None,
    pieces: Iterable[bytes],
    *,
    path: str = "/api/v1/spans",
    ending: str = "whole",
) -> list[Message]:
    """What one request is answered, of which these pieces come, and then its end, nothing more, or a closed connection."""
    pieces = list(pieces)
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if ending == "whole":
        messages[-1]["more_body"] = False
    elif ending == "left":
        messages.append({"type": "http.disconnect"})
    answer: list[Message] = []

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # a connection that stays open, and says nothing more
        return messages.pop(0)

    async def send(message: Message) -> None:
        answer.append(message)

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    await door({"type": "http", "path": path, "headers": headers}, receive, send)
    return answer


def status_and_body(answer: list[Message]) -> tuple[int, bytes]:
    start, body = answer
    return start["status"], body["body"]


def test_a_body_that_comes_in_pieces_is_given_on_in_one() -> None:
    web = Web()
    answer = asyncio.run(asked(WholeRequests(web), 6, [b"ab", b"", b"cdef"]))
    assert status_and_body(answer) == (200, b"done")
    assert web.bodies == [b"abcdef"]


def test_what_declares_no_body_is_not_waited_for() -> None:
    web = Web()
    answer = asyncio.run(asked(WholeRequests(web), None, [], ending="silence"))
    assert status_and_body(answer) == (200, b"done")
    assert web.bodies == [b""]


def test_a_body_that_does_not_come_in_time_is_a_408_and_the_plane_is_not_asked() -> None:
    web = Web()
    door = WholeRequests(web, body_seconds=0.01)
    status, told = status_and_body(asyncio.run(asked(door, 50, [b"a"], ending="silence")))
    assert status == 408
    assert json.loads(told) == {
        "error": {"code": "body_too_slow", "message": "the body did not come in within 0.01 s", "details": {}}
    }
    answer = asyncio.run(asked(door, 50, [b"a"], path="/admin/login/", ending="silence"))
    assert status_and_body(answer) == (408, b"the body did not come in within 0.01 s\n")
    headers = dict(answer[0]["headers"])
    assert (headers[b"content-type"], headers[b"connection"]) == (b"text/plain; charset=utf-8", b"close")
    assert web.bodies == []


def test_a_body_larger_than_django_takes_is_a_413_once_its_sender_can_hear_it() -> None:
    web = Web()
    assert settings.DATA_UPLOAD_MAX_MEMORY_SIZE == TOO_LARGE - 1
    status, told = status_and_body(asyncio.run(asked(WholeRequests(web), TOO_LARGE, [b"a" * (TOO_LARGE - 1), b"a"])))
    assert status == 413
    error = json.loads(told)["error"]
    assert (error["code"], error["details"]) == ("body_too_large", {"max_bytes": 33 * 1024 * 1024})
    assert web.bodies == []


def test_who_leaves_before_the_body_is_there_is_answered_nothing() -> None:
    web = Web()
    assert asyncio.run(asked(WholeRequests(web), 50, [b"a"], ending="left")) == []
    assert web.bodies == []


def test_no_more_large_bodies_are_read_at_a_time_than_there_are_threads_and_small_ones_always(settings: Any) -> None:
    settings.WEB_THREADS = 2

    async def scenario() -> tuple[list[Message], list[Message], list[Message]]:
        web = Web()
        door = WholeRequests(web, body_seconds=0.05)
        web.may_answer.clear()
        # Read, and kept in memory until they are answered.
        first = [asyncio.ensure_future(asked(door, LARGE, [b"a" * LARGE])) for _ in range(2)]
        while len(web.bodies) < 2:
            await asyncio.sleep(0)
        refused = await asked(door, LARGE, [b"b" * LARGE])
        web.may_answer.set()
        await asyncio.gather(*first)
        small = await asked(door, LARGE - 1, [b"c" * (LARGE - 1)])
        later = await asked(door, LARGE, [b"d" * LARGE])
        assert [body[:1] for body in web.bodies] == [b"a", b"a", b"c", b"d"]
        return refused, small, later

    refused, small, later = asyncio.run(scenario())
    assert refused[0]["status"] == 503
    assert dict(refused[0]["headers"])[b"retry-after"] == b"1"
    assert json.loads(refused[1]["body"])["error"]["code"] == "unavailable"
    assert (small[0]["status"], later[0]["status"]) == (200, 200)


def test_a_process_that_stops_waits_for_what_is_under_way() -> None:
    async def scenario() -> None:
        web = Web()
        door = WholeRequests(web)
        web.may_answer.clear()
        first = asyncio.ensure_future(asked(door, 1, [b"a"]))
        while not web.bodies:
            await asyncio.sleep(0)
        stopping = asyncio.ensure_future(door.all_answered())
        await asyncio.sleep(0)
        assert not stopping.done()
        web.may_answer.set()
        await stopping
        assert status_and_body(await first) == (200, b"done")
        await door.all_answered()

    asyncio.run(scenario())
