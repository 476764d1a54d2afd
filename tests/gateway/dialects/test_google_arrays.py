"""Google's streams for clients that do not ask for events: a JSON array that grows, error and money in it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import UnknownModel, UpstreamError
from spendhub.errors import Invalid
from spendhub.gateway.exchange import Exchange, Headers
from spendhub.gateway.gemini.addresses import check_alt, expects_array
from spendhub.gateway.gemini.array_exchange import ArrayExchange
from spendhub.gateway.gemini.errors import error_answer, error_event
from spendhub.gateway.kept_exchange import KeptAnswer, KeptExchange
from spendhub.gateway.stream_events import data_event

EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
COST = (b"x-spendhub-decision", b"allow")
MONEY = {"usageMetadata": {"totalTokenCount": 3}, "spendhub": {"cost": "0.01"}}


class Sent:
    """A client's side of an exchange: what it was sent."""

    def __init__(self, query: str = "") -> None:
        self.messages: list[Any] = []
        path = "/v1beta/models/m:streamGenerateContent"
        scope = {"method": "POST", "path": path, "headers": [], "query_string": query.encode()}
        self.exchange = Exchange(scope, self._receive, self._send)
        self.array = ArrayExchange(self.exchange)

    async def _receive(self) -> Any:
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def head(self) -> tuple[int, dict[bytes, bytes]]:
        return self.messages[0]["status"], dict(self.messages[0]["headers"])

    @property
    def pieces(self) -> list[bytes]:
        return [message["body"] for message in self.messages[1:]]

    @property
    def told(self) -> Any:
        return json.loads(b"".join(self.pieces))


def said(word: str) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": word}]}}]}


async def stream(exchange: Exchange, pieces: list[bytes], last: bytes) -> None:
    await exchange.begin([EVENTS, COST])
    for piece in pieces:
        await exchange.write(piece)
    await exchange.end(last)


def test_events_become_elements_one_by_one_and_the_money_is_in_the_last() -> None:
    sent = Sent()
    asyncio.run(
        stream(sent.array, [data_event(said("a")), data_event(said("b")) + data_event(said("c"))], data_event(MONEY))
    )
    assert sent.head == (200, {b"content-type": b"application/json; charset=UTF-8", COST[0]: COST[1]})
    a, b, c, money = (json.dumps(each, separators=(",", ":")).encode() for each in (*map(said, "abc"), MONEY))
    assert sent.pieces == [b"[" + a, b"\n,\r\n" + b + b"\n,\r\n" + c, b"\n,\r\n" + money + b"\n]"]
    assert sent.told == [said("a"), said("b"), said("c"), MONEY]
    assert [message.get("more_body", False) for message in sent.messages[1:]] == [True, True, False]


WORDS = st.text(max_size=8)


@given(st.lists(st.lists(WORDS, max_size=4), max_size=6), st.booleans())
def test_after_each_piece_the_array_is_whole_but_for_its_end(bursts: list[list[str]], has_last: bool) -> None:
    sent = Sent()
    pieces = [b"".join(data_event(said(word)) for word in burst) for burst in bursts]
    asyncio.run(stream(sent.array, pieces, data_event(MONEY) if has_last else b""))
    words = [said(word) for burst in bursts for word in burst]
    assert sent.told == [*words, *([MONEY] if has_last else [])]
    for number in range(1, len(sent.pieces)):
        begun = b"".join(sent.pieces[:number])
        assert json.loads((begun or b"[") + b"]") == [said(word) for burst in bursts[:number] for word in burst]


def test_an_error_in_mid_stream_is_the_last_element() -> None:
    sent = Sent()

    async def broken() -> None:
        await sent.array.begin([EVENTS])
        await sent.array.write(data_event(said("a")))
        await sent.array.fail(error_event(UpstreamError("it broke off")))

    asyncio.run(broken())
    first, last = sent.told
    assert first == said("a")
    assert (last["error"]["code"], last["error"]["details"][1]["code"]) == (502, "upstream_failed")
    assert sent.array.has_begun


def test_an_error_before_the_stream_is_an_array_of_it_alone() -> None:
    sent = Sent()
    status, body, headers = error_answer(UnknownModel("m"))
    asyncio.run(sent.array.answer(status, body, headers))
    assert sent.head[0] == 404 and sent.head[1][b"content-length"] == str(len(sent.pieces[0])).encode()
    assert [each["error"]["code"] for each in sent.told] == [404]
    assert sent.array.has_begun


@pytest.mark.parametrize("body", [b'[{"error":{"code":429}}]', b"<html>busy</html>"])
def test_a_vendors_own_error_that_is_no_object_stays_as_it_is(body: bytes) -> None:
    sent = Sent()
    asyncio.run(sent.array.answer(429, body, [(b"content-type", b"application/json")]))
    assert sent.pieces == [body]


def test_an_answer_that_is_given_again_is_an_array_too() -> None:
    sent, kept = Sent(), list[KeptAnswer | None]()

    async def keep(answer: KeptAnswer | None, *_: Any) -> None:
        kept.append(answer)

    async def give_back() -> None:
        raise AssertionError("it is no error")

    asyncio.run(stream(KeptExchange(sent.array, keep, give_back), [data_event(said("a"))], data_event(MONEY)))
    assert kept[0] is not None and kept[0].body == data_event(said("a")) + data_event(MONEY)
    again = Sent()
    headers: Headers = [*kept[0].headers, (b"x-spendhub-replayed", b"true")]
    asyncio.run(again.array.answer(200, kept[0].body, headers))
    assert again.told == sent.told == [said("a"), MONEY]
    assert again.head[1][b"content-type"] == b"application/json; charset=UTF-8"
    assert again.head[1][b"x-spendhub-replayed"] == b"true"


@pytest.mark.parametrize(
    ("query", "is_array"),
    [("", True), ("alt=", True), ("alt=json", True), ("$alt=json;enum-encoding=int", True), ("key=k", True),
     ("alt=sse", False), ("key=k&alt=sse", False), ("$alt=sse", False)],
)  # fmt: skip
def test_the_query_says_which_form_is_wanted(query: str, is_array: bool) -> None:
    exchange = Sent(query).exchange
    assert expects_array(exchange) == is_array
    check_alt(exchange)


def test_another_form_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        check_alt(Sent("alt=proto").exchange)
    assert refused.value.details["field"] == "alt"
