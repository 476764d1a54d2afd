"""The same call twice is one call: which calls are the same, what is kept of an answer, and who is told what."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from spendhub.errors import SpendHubError, Unavailable
from spendhub.gateway.exchange import ClientLeft, Exchange
from spendhub.gateway.idempotency import answer_once, idempotency_key
from spendhub.gateway.idempotency_errors import (
    TOO_LARGE,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    IdempotencyNotReplayable,
)
from spendhub.gateway.kept_exchange import MAX_KEPT_BYTES, unpack
from spendhub.gateway.openai.errors import error_answer
from spendhub.gateway.our_headers import InvalidDemand
from spendhub.gateway.recipe_router import tell_recipe_error
from spendhub.sealing import open_for, seal_for
from spendhub.tenants.models import Tenant
from telemetry.models import KeyedCall
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "user": "ada"}
ANSWER = b'{"id": "chatcmpl-1"}'
HEADERS = [(b"content-type", b"application/json"), (b"x-spendhub-cost", b"0.0042"), (b"x-spendhub-model", b"small")]
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
COST = 4_200_000

Answer = Callable[[Exchange], Awaitable[None]]


class Client:
    """One HTTP client: what it asks, and what it is sent."""

    def __init__(self, path: str = "/v1/chat/completions", leaves_after: int | None = None, **headers: str) -> None:
        self.sent: list[Any] = []
        self.leaves_after = leaves_after
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"method": "POST", "path": path, "headers": given}
        self.exchange = Exchange(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        if self.leaves_after is None:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.leaves_after is not None and len(self.sent) >= self.leaves_after:
            raise OSError("the connection is closed")
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


class Vendor:
    """Counts how often it is asked, and answers whole."""

    def __init__(self, status: int = 200, body: bytes = ANSWER) -> None:
        self.calls, self.status, self.body = 0, status, body

    async def answer(self, exchange: Exchange) -> None:
        self.calls += 1
        exchange.note_booked("request-1", COST)
        await exchange.answer(self.status, self.body, list(HEADERS))


def whose(tenant: Tenant, key: str = "ab12cd34") -> Any:
    return SimpleNamespace(tenant_id=tenant.pk, key_prefix=key)


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def ask(principal: Any, answer: Answer, client: Client | None = None, key: str = "order-1", **changes: Any) -> Client:
    client = client or Client()
    asyncio.run(answer_once(client.exchange, principal, key, {**BODY, **changes}, answer))
    return client


def test_a_call_without_the_header_has_no_key() -> None:
    assert idempotency_key(Client().exchange) is None


def test_our_own_header_wins_over_the_usual_one() -> None:
    assert idempotency_key(Client(idempotency_key=" order-1 ").exchange) == "order-1"
    both = Client(idempotency_key="theirs", x_spendhub_idempotency_key="ours")
    assert idempotency_key(both.exchange) == "ours"


@pytest.mark.parametrize("wrong", ["", "  ", "k" * 256])
def test_a_key_that_cannot_be_is_told(wrong: str) -> None:
    with pytest.raises(InvalidDemand):
        idempotency_key(Client(idempotency_key=wrong).exchange)


def test_a_repeat_is_given_the_same_bytes_and_the_call_is_made_once(acme: Tenant) -> None:
    vendor = Vendor()
    first, again = (ask(whose(acme), vendor.answer) for _ in range(2))
    assert vendor.calls == 1
    assert (again.status, again.body) == (first.status, first.body) == (200, ANSWER)
    length = (b"content-length", str(len(ANSWER)).encode())
    assert first.headers == dict([*HEADERS, length])
    replayed = [(b"x-spendhub-replayed", b"true"), (b"x-spendhub-request-id", b"request-1")]
    assert again.headers == dict([*HEADERS, length, *replayed])


def test_the_order_of_its_fields_makes_no_other_request(acme: Tenant) -> None:
    vendor = Vendor()
    ask(whose(acme), vendor.answer)
    client = Client()
    asyncio.run(answer_once(client.exchange, whose(acme), "order-1", dict(reversed(BODY.items())), vendor.answer))
    assert (vendor.calls, client.body) == (1, ANSWER)


@pytest.mark.parametrize("changes", [{"model": "large"}, {"user": "ben"}, {"stream": True}, {"temperature": None}])
def test_another_body_may_not_have_the_key_of_the_first(acme: Tenant, changes: dict[str, Any]) -> None:
    vendor = Vendor()
    ask(whose(acme), vendor.answer)
    with pytest.raises(IdempotencyKeyReused):
        ask(whose(acme), vendor.answer, **changes)
    assert vendor.calls == 1


def test_another_route_may_not_have_it_either(acme: Tenant) -> None:
    ask(whose(acme), Vendor().answer)
    with pytest.raises(IdempotencyKeyReused):
        ask(whose(acme), Vendor().answer, Client("/v1/responses"))


def test_another_api_key_and_another_tenant_have_keys_of_their_own(acme: Tenant) -> None:
    for other in (whose(acme), whose(acme, "ff00ff00"), whose(factories.globex())):
        vendor = Vendor()
        ask(other, vendor.answer)
        assert vendor.calls == 1


def test_an_error_is_not_kept_and_the_next_one_may_try(acme: Tenant) -> None:
    assert ask(whose(acme), Vendor(502).answer).status == 502
    vendor = Vendor()
    assert ask(whose(acme), vendor.answer).body == ANSWER
    assert vendor.calls == 1


def test_a_call_that_is_refused_gives_its_key_back(acme: Tenant) -> None:
    async def refuse(exchange: Exchange) -> None:
        raise Unavailable("nobody is there")

    with pytest.raises(Unavailable):
        ask(whose(acme), refuse)
    assert not KeyedCall.objects.for_tenant(acme).exists()


def test_a_call_that_is_cancelled_gives_its_key_back(acme: Tenant) -> None:
    async def run() -> None:
        asked = asyncio.Event()

        async def hang(exchange: Exchange) -> None:
            asked.set()
            await asyncio.Event().wait()

        call = asyncio.ensure_future(answer_once(Client().exchange, whose(acme), "order-1", BODY, hang))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(run())
    assert not KeyedCall.objects.for_tenant(acme).exists()


async def stream(exchange: Exchange) -> None:
    """As calls.py streams: the vendor is left as soon as the client has."""
    await exchange.begin(list(EVENTS))
    leaving = asyncio.ensure_future(exchange.client_left())
    for number in range(3):
        await asyncio.sleep(0)
        if leaving.done():
            raise ClientLeft
        await exchange.write(b"data: %d\n\n" % number)
    leaving.cancel()
    exchange.note_booked("request-2", COST)
    await exchange.end(b"data: [DONE]\n\n")


async def break_off(exchange: Exchange) -> None:
    await exchange.begin(list(EVENTS))
    await exchange.write(b"data: 0\n\n")
    await exchange.fail(b'data: {"error": {}}\n\n')


WHOLE_STREAM = b"data: 0\n\ndata: 1\n\ndata: 2\n\ndata: [DONE]\n\n"


def test_a_stream_is_given_again_with_all_its_events_and_its_cost(acme: Tenant) -> None:
    first = ask(whose(acme), stream)
    again = ask(whose(acme), Vendor().answer)
    assert first.body == again.body == WHOLE_STREAM
    assert again.headers == {
        b"content-type": b"text/event-stream; charset=utf-8", b"x-spendhub-replayed": b"true",
        b"x-spendhub-cost": b"0.0042", b"x-spendhub-request-id": b"request-2",
        b"content-length": str(len(WHOLE_STREAM)).encode(),
    }  # fmt: skip


def test_a_stream_whose_client_has_left_is_read_on_and_kept_whole(acme: Tenant) -> None:
    first = ask(whose(acme), stream, Client(leaves_after=2))
    assert first.body == b"data: 0\n\n"
    assert ask(whose(acme), Vendor().answer).body == WHOLE_STREAM


def test_a_stream_that_breaks_off_is_not_kept(acme: Tenant) -> None:
    assert ask(whose(acme), break_off).body == b'data: 0\n\ndata: {"error": {}}\n\n'
    assert ask(whose(acme), stream).body == WHOLE_STREAM


class Watchful(Client):
    """Looks, whenever it is sent something, whether its key is taken."""

    def __init__(self, tenant: Tenant) -> None:
        super().__init__()
        self.tenant, self.was_taken = tenant, []

    async def _send(self, message: Any) -> None:
        self.was_taken.append(await asyncio.to_thread(is_taken, self.tenant))
        await super()._send(message)


def is_taken(tenant: Tenant) -> bool:
    from django.db import connections

    try:
        return KeyedCall.objects.for_tenant(tenant).exists()
    finally:
        connections.close_all()


def test_the_key_is_free_before_a_whole_error_goes_out(acme: Tenant) -> None:
    client = Watchful(acme)
    ask(whose(acme), Vendor(400).answer, client)
    assert (client.status, client.was_taken) == (400, [False, False])


def test_the_key_is_free_before_a_stream_ends_in_an_error_and_taken_until_then(acme: Tenant) -> None:
    client = Watchful(acme)
    ask(whose(acme), break_off, client)
    assert client.body == b'data: 0\n\ndata: {"error": {}}\n\n'
    assert client.was_taken == [True, True, False]


@pytest.mark.parametrize("answer", [Vendor(400).answer, break_off])
def test_an_error_is_told_also_where_the_key_cannot_be_freed(
    acme: Tenant, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise Unavailable("the ledger does not answer")
        yield

    monkeypatch.setattr("spendhub.gateway.idempotency.free", away)
    assert ask(whose(acme), answer).sent[-1].get("more_body", False) is False
    assert is_taken(acme)  # until its lease ends


def test_the_door_knows_whether_a_kept_answer_has_begun(acme: Tenant) -> None:
    async def begin_and_break(exchange: Exchange) -> None:
        await exchange.begin(list(EVENTS))
        raise Unavailable("in the middle")

    client = Client()
    with pytest.raises(Unavailable):
        ask(whose(acme), begin_and_break, client)
    assert client.exchange.has_begun


def test_a_whole_answer_whose_client_has_left_is_kept(acme: Tenant) -> None:
    with pytest.raises(ClientLeft):
        ask(whose(acme), Vendor().answer, Client(leaves_after=0))
    assert ask(whose(acme), Vendor().answer).body == ANSWER


def test_an_answer_that_is_too_large_is_sent_and_a_repeat_is_told_what_it_had_cost(acme: Tenant) -> None:
    vendor = Vendor(body=b"x" * (MAX_KEPT_BYTES + 1))
    assert ask(whose(acme), vendor.answer).body == vendor.body
    with pytest.raises(IdempotencyNotReplayable, match="too large") as told:
        ask(whose(acme), vendor.answer)
    assert told.value.details == {"request_id": "request-1", "cost": "0.0042"}
    assert vendor.calls == 1


def test_the_largest_answer_that_is_kept_is_given_again(acme: Tenant) -> None:
    vendor = Vendor(body=b"x" * MAX_KEPT_BYTES)
    assert ask(whose(acme), vendor.answer).body == ask(whose(acme), vendor.answer).body == vendor.body


def refused_as_unreadable(principal: Any) -> bool:
    """Whether a repeat is told that its answer cannot be read, and what it had cost, without a vendor being asked."""
    vendor = Vendor()
    with pytest.raises(IdempotencyNotReplayable, match="does not open") as told:
        ask(principal, vendor.answer)
    return told.value.details == {"request_id": "request-1", "cost": "0.0042"} and vendor.calls == 0


@pytest.mark.parametrize("stored", [b"", b"rubbish", zlib.compress(b"rubbish"), seal_for("elsewhere", b"rubbish")])
def test_what_is_no_answer_of_ours_is_not_given(acme: Tenant, stored: bytes) -> None:
    assert unpack(stored, "elsewhere") is None
    ask(whose(acme), Vendor().answer)
    KeyedCall.objects.for_tenant(acme).update(answer=stored)
    assert refused_as_unreadable(whose(acme))


def columns_of_row(tenant: Tenant) -> list[bytes]:
    """All that the database has of the one row, as it lies there."""
    columns = KeyedCall.objects.for_tenant(tenant).values_list().get()
    return [bytes(each) if isinstance(each, bytes | memoryview) else str(each).encode() for each in columns]


def can_be_read_in(stored: bytes, text: bytes) -> bool:
    """Whether someone without a key finds `text` there: as it is, in base64, or packed."""
    forms = [stored]
    with suppress(ValueError):
        forms.append(base64.urlsafe_b64decode(stored))
    return any(text in form or any(text in unpacked_from(form[at:]) for at in range(len(form))) for form in forms)


def unpacked_from(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed)
    except zlib.error:
        return b""


def test_nothing_of_an_answer_can_be_read_in_the_database(acme: Tenant) -> None:
    ask(whose(acme), Vendor(body=b'{"content": "Zoe owes 12 euros"}').answer)
    for text in (b"Zoe owes", b"x-spendhub-model"):
        assert not any(can_be_read_in(column, text) for column in columns_of_row(acme))
    # Without the seal the same search finds it.
    row = KeyedCall.objects.for_tenant(acme).get()
    unsealed = open_for(f"idempotency key {acme.pk} {row.key_sha256}", row.answer or b"")
    KeyedCall.objects.for_tenant(acme).update(answer=unsealed)
    assert any(can_be_read_in(column, b"Zoe owes") for column in columns_of_row(acme))


def test_a_row_with_another_tenants_answer_gives_nothing_away(acme: Tenant) -> None:
    globex = factories.globex()
    ask(whose(acme), Vendor(body=b"for acme").answer)
    ask(whose(globex), Vendor(body=b"for globex").answer)
    (theirs,) = KeyedCall.objects.for_tenant(acme).values_list("answer", flat=True)
    KeyedCall.objects.for_tenant(globex).update(answer=theirs)
    assert refused_as_unreadable(whose(globex))


def test_a_row_with_the_answer_of_another_key_gives_nothing_away(acme: Tenant) -> None:
    ask(whose(acme), Vendor(body=b"the second").answer, key="order-2")
    (another,) = KeyedCall.objects.for_tenant(acme).values_list("answer", flat=True)
    ask(whose(acme), Vendor().answer)
    KeyedCall.objects.for_tenant(acme).update(answer=another)
    assert refused_as_unreadable(whose(acme))


def test_answers_are_given_again_after_the_encryption_key_is_rotated(acme: Tenant, settings: Any) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.ENCRYPTION_KEYS = [old]
    vendor = Vendor()
    ask(whose(acme), vendor.answer)
    settings.ENCRYPTION_KEYS = [new, old]
    assert (ask(whose(acme), vendor.answer).body, vendor.calls) == (ANSWER, 1)


def test_an_answer_whose_encryption_key_is_gone_is_told_so_and_no_vendor_is_asked(acme: Tenant, settings: Any) -> None:
    settings.ENCRYPTION_KEYS, settings.SECRET_KEY = [], "one"
    ask(whose(acme), Vendor().answer)
    settings.SECRET_KEY = "another"
    assert refused_as_unreadable(whose(acme))
    settings.SECRET_KEY = "one"
    assert ask(whose(acme), Vendor().answer).body == ANSWER


class Slow:
    """A call that is answered when it is told to be."""

    def __init__(self, status: int = 200) -> None:
        self.vendor = Vendor(status)
        self.asked, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def answer(self, exchange: Exchange) -> None:
        self.asked.set()
        await self.may_go_on.wait()
        await self.vendor.answer(exchange)


def test_repeats_wait_for_the_first_and_are_answered_like_it(acme: Tenant) -> None:
    async def run() -> tuple[Slow, list[Client]]:
        slow, clients = Slow(), [Client() for _ in range(10)]
        calls = [
            asyncio.ensure_future(answer_once(each.exchange, whose(acme), "order-1", BODY, slow.answer))
            for each in clients
        ]
        await slow.asked.wait()
        slow.may_go_on.set()
        await asyncio.gather(*calls)
        return slow, clients

    slow, clients = asyncio.run(run())
    assert slow.vendor.calls == 1
    assert [client.body for client in clients] == [ANSWER] * 10
    assert sum(b"x-spendhub-replayed" in client.headers for client in clients) == 9


def test_when_the_first_fails_one_of_those_who_wait_makes_the_call(acme: Tenant) -> None:
    async def run() -> tuple[Slow, Vendor, list[Client]]:
        failing, vendor, clients = Slow(502), Vendor(), [Client() for _ in range(4)]
        first = asyncio.ensure_future(answer_once(clients[0].exchange, whose(acme), "order-1", BODY, failing.answer))
        await failing.asked.wait()
        others = [
            asyncio.ensure_future(answer_once(each.exchange, whose(acme), "order-1", BODY, vendor.answer))
            for each in clients[1:]
        ]
        failing.may_go_on.set()
        await asyncio.gather(first, *others)
        return failing, vendor, clients

    failing, vendor, clients = asyncio.run(run())
    assert (failing.vendor.calls, vendor.calls) == (1, 1)
    assert [client.status for client in clients] == [502, 200, 200, 200]


async def repeat_while_it_runs(acme: Tenant, client: Client) -> Vendor:
    slow, vendor = Slow(), Vendor()
    first = asyncio.ensure_future(answer_once(Client().exchange, whose(acme), "order-1", BODY, slow.answer))
    await slow.asked.wait()
    try:
        await answer_once(client.exchange, whose(acme), "order-1", BODY, vendor.answer)
    finally:
        slow.may_go_on.set()
        await first
    return vendor


def test_a_repeat_does_not_wait_for_ever(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spendhub.gateway.idempotency.WAIT_SECONDS", 0.0)
    with pytest.raises(IdempotencyInProgress):
        asyncio.run(repeat_while_it_runs(acme, Client()))


def test_a_repeat_whose_client_has_left_waits_no_longer(acme: Tenant) -> None:
    with pytest.raises(ClientLeft):
        asyncio.run(repeat_while_it_runs(acme, Client(leaves_after=0)))


def test_a_call_that_runs_long_keeps_its_key(acme: Tenant, settings: Any) -> None:
    settings.CALL_HOLD_SECONDS = 0.3

    async def run() -> None:
        slow = Slow()
        call = asyncio.ensure_future(answer_once(Client().exchange, whose(acme), "order-1", BODY, slow.answer))
        await slow.asked.wait()
        lease = await asyncio.to_thread(lease_of, acme)
        async with asyncio.timeout(10):
            while await asyncio.to_thread(lease_of, acme) <= lease:
                await asyncio.sleep(0.02)
        slow.may_go_on.set()
        await call

    asyncio.run(run())


def lease_of(tenant: Tenant) -> Any:
    from django.db import connections

    try:
        return KeyedCall.objects.for_tenant(tenant).get().ends_at
    finally:
        connections.close_all()


def test_an_answer_is_kept_for_the_hours_of_the_setting(acme: Tenant, settings: Any) -> None:
    settings.IDEMPOTENCY_HOURS = 2
    ask(whose(acme), Vendor().answer)
    row = KeyedCall.objects.for_tenant(acme).get()
    assert row.answered_at is not None
    assert (row.ends_at - row.answered_at).total_seconds() == 7200
    assert (row.api_key, row.request_id, row.cost_nano_usd) == ("ab12cd34", "request-1", COST)


@pytest.mark.parametrize(
    ("error", "status", "recipes_status", "headers"),
    [
        (IdempotencyKeyReused(), 422, 400, {b"x-should-retry": b"false"}),
        (IdempotencyInProgress(5), 409, 503, {b"retry-after": b"5"}),
        (IdempotencyNotReplayable("request-1", COST, TOO_LARGE), 409, 400, {b"x-should-retry": b"false"}),
    ],
)
def test_sdks_try_again_only_where_it_helps(
    error: SpendHubError, status: int, recipes_status: int, headers: dict[bytes, bytes]
) -> None:
    told, body, sent = error_answer(error)
    assert (told, json.loads(body)["error"]["code"]) == (status, error.code)
    assert dict(sent) == {b"content-type": b"application/json", **headers}
    assert tell_recipe_error(error)[0] == recipes_status
