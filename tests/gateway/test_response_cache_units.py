"""Answers that are given again: what makes two requests the same, which answers are kept, and what a hit records."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client
from msgspec.structs import replace

from budgets.counters.base import CounterStoreDown
from routing.plans import Plan
from routing.token_usage import TokenUsage
from routing.wanted import Declared
from spendhub.gateway import response_cache
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.exchange import Exchange
from spendhub.gateway.our_headers import InvalidDemand
from spendhub.gateway.response_cache import (
    MAX_ANSWER_BYTES,
    Caching,
    answer_from_cache,
    cache_key,
    caching_of,
    is_repeatable,
)
from spendhub.sealing import open_for
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import ACCESS, Principal
from telemetry.cache_rules import ttl_of
from telemetry.models import CostSpan, ResponseCacheRule
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

BODY: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
FAQ = Attribution(feature="faq")
COST = 4_200_000
USAGE = TokenUsage(input_tokens=900, output_tokens=300)
ANSWER = b'{"id":"chatcmpl-1","choices":[]}'


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    caches["answers"].clear()
    yield
    caches["answers"].clear()


@pytest.fixture
def principal() -> Principal:
    return principal_of("acme")


def principal_of(slug: str) -> Principal:
    key = factories.ApiKeyFactory(tenant=getattr(factories, slug)())
    model = factories.ModelFactory(name="small")
    factories.PriceFactory(model=model)
    refresh_all()
    return ACCESS.current().identify(key.secret, key.created_at)


def request_of(body: dict[str, Any] | None = None, **changes: Any) -> CallRequest:
    body = BODY if body is None else body
    return replace(CallRequest(wire="chat", body=body, model=str(body.get("model", ""))), **changes)


def exchange_of(*headers: tuple[bytes, bytes], sent: list[Any] | None = None) -> Exchange:
    async def send(message: Any) -> None:
        assert sent is not None
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing more is read")

    scope = {"method": "POST", "path": "/v1/chat/completions", "headers": list(headers)}
    return Exchange(scope, receive, send)


def call_of(**changes: Any) -> Any:
    """A settled call, as far as the cache looks at it."""
    model = SimpleNamespace(name="small", provider=SimpleNamespace(name="vendor"))
    decision = SimpleNamespace(action=changes.pop("action", "allow"))
    facts = {"model": model, "decision": decision, "usage": USAGE, "cost_nano_usd": COST, "is_estimated": False}
    facts["all_nano_usd"] = changes.get("cost_nano_usd", COST)
    return SimpleNamespace(**{**facts, "clamp_to": None, **changes})


def key_of(body: dict[str, Any] | None = None, tenant: int = 1, feature: str | None = "faq", **declared: Any) -> str:
    return cache_key(tenant, request_of(body), feature, Declared(**declared))


@pytest.mark.parametrize(
    "beside",
    [
        {"user": "ben"},
        {"metadata": {"user": "ben"}},
        {"spendhub": {"timeout_ms": 5}},
        {"stream": False},
        {"stream_options": {"include_usage": True}},
    ],
)
def test_who_asks_makes_no_difference(beside: dict[str, Any]) -> None:
    assert key_of({**BODY, **beside}) == key_of()
    assert key_of(dict(reversed(BODY.items()))) == key_of()


@pytest.mark.parametrize(
    "different",
    [
        {"temperature": 0.6},
        {"model": "large"},
        {"messages": [{"role": "user", "content": "hi "}]},
        {"messages": [{"role": "system", "content": "hi"}]},
        {"max_tokens": 10},
        {"seed": 1},
        {"unknown_field": None},
    ],
)
def test_whatever_may_change_the_answer_makes_another_request(different: dict[str, Any]) -> None:
    assert key_of({**BODY, **different}) != key_of()


def test_tenants_features_routes_and_demands_have_answers_of_their_own() -> None:
    keys = [
        key_of(),
        key_of(tenant=2),
        key_of(feature=None),
        key_of(feature="support"),
        key_of(min_quality="premium"),
        key_of(allow=frozenset({"a", "b"})),
        cache_key(1, request_of(wire="messages"), "faq", Declared()),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(allow=frozenset({"b", "a"})) == key_of(allow=frozenset({"a", "b"}))


@pytest.mark.parametrize(
    ("more", "may_be_repeated"),
    [
        ({}, True),
        ({"tools": [{"type": "function", "function": {"name": "find"}}]}, True),
        ({"tools": [{"name": "find", "input_schema": {}}]}, True),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, False),
        ({"tools": [{"type": "file_search"}]}, False),
        ({"tools": [{"functionDeclarations": [{"name": "find"}]}]}, True),
        ({"tools": [{"functionDeclarations": [{"name": "find"}], "googleSearch": {}}]}, False),
        ({"tools": [{"googleSearch": {}}]}, False),
        ({"cachedContent": "cachedContents/x"}, False),
        ({"tools": ["find"]}, False),
        ({"web_search_options": {}}, False),
        ({"previous_response_id": "resp_1"}, False),
        ({"thread": {"type": "create"}}, False),
        ({"thread": {"type": "continue", "previous_message_id": "msg_1"}}, False),
        ({"thread": None}, True),
    ],
)
def test_only_what_depends_on_the_request_alone_is_kept(more: dict[str, Any], may_be_repeated: bool) -> None:
    assert is_repeatable({**BODY, **more}) is may_be_repeated


def caching(principal: Principal, *headers: tuple[bytes, bytes], who: Attribution = FAQ, **changes: Any) -> Any:
    return caching_of(exchange_of(*headers), principal, request_of(**changes), who, Declared())


def test_what_is_said_to_the_vendor_beside_the_body_makes_another_request(principal: Principal) -> None:
    asked = (b"x-spendhub-cache", b"60")
    keys = [caching(principal, asked).key, caching(principal, asked, (b"anthropic-beta", b"context-1m")).key]
    assert keys[0] != keys[1]


def test_nothing_is_kept_unless_a_rule_or_the_caller_says_so(principal: Principal) -> None:
    assert caching(principal) is None
    assert caching(principal, (b"x-spendhub-cache", b"60")).seconds == 60
    rule = ResponseCacheRule.objects.create(tenant_id=principal.tenant_id, feature="faq", ttl_seconds=90)
    refresh_all()
    assert caching(principal).seconds == 90
    assert caching(principal, who=Attribution(feature="support")) is None
    assert caching(principal, who=Attribution()) is None
    assert caching(principal, (b"x-spendhub-cache", b"0")) is None  # the caller's word counts for more
    assert caching(principal, is_stream=True) is None
    assert ttl_of(principal.tenant_id + 1, "faq") == 0
    rule.is_enabled = False
    rule.save()
    refresh_all()
    assert caching(principal) is None


def test_a_rule_for_every_feature_is_replaced_by_one_of_the_features_own(principal: Principal) -> None:
    tenant_id = principal.tenant_id
    for feature, ttl_seconds, is_enabled in (("*", 60, True), ("faq", 90, True), ("news", 120, False)):
        ResponseCacheRule.objects.create(
            tenant_id=tenant_id, feature=feature, ttl_seconds=ttl_seconds, is_enabled=is_enabled
        )
    refresh_all()
    told = {feature: ttl_of(tenant_id, feature) for feature in ("faq", "FAQ", "support", "news")}
    assert told == {"faq": 90, "FAQ": 60, "support": 60, "news": 0}  # to the letter, as budgets compare them
    assert ttl_of(tenant_id, None) == 0  # whoever names no feature is in no rule, as in no budget for features
    assert caching(principal, who=Attribution(feature="support")).seconds == 60
    of_all = ResponseCacheRule.objects.for_tenant(tenant_id).get(feature="*")
    of_all.is_enabled = False
    of_all.save()
    refresh_all()
    assert ttl_of(tenant_id, "support") == 0


@pytest.mark.parametrize("wrong", [b"", b"-1", b"1.5", b"604801", b"an hour", b"99999999999"])
def test_a_header_that_is_no_number_of_seconds_is_told(principal: Principal, wrong: bytes) -> None:
    with pytest.raises(InvalidDemand):
        caching(principal, (b"x-spendhub-cache", wrong))


AS_MEANT, OF_A_STAND_IN = Plan(()), Plan((), begins_with_fallback=True)


def keep(
    principal: Principal,
    call: Any,
    body: bytes = ANSWER,
    finish: str | None = "stop",
    seconds: int = 60,
    plan: Plan = AS_MEANT,
) -> Any:
    async def both() -> Any:
        place = Caching("a-key", seconds)
        await place.keep(call, plan, body, finish)
        return await place.find(principal.tenant_id)

    return asyncio.run(both())


def test_a_complete_answer_is_found_again_with_what_it_had_cost(principal: Principal) -> None:
    kept = keep(principal, call_of())
    assert (kept.body, kept.model, kept.provider, kept.cost_nano_usd) == (ANSWER, "small", "vendor", COST)
    assert TokenUsage(**kept.usage) == USAGE


@pytest.mark.parametrize(
    ("facts", "body", "finish"),
    [
        ({}, ANSWER, "length"),
        ({}, ANSWER, "content_filter"),
        ({}, ANSWER, "max_tokens"),
        ({}, b"x" * (MAX_ANSWER_BYTES + 1), "stop"),
        ({"is_estimated": True}, ANSWER, "stop"),
        ({"clamp_to": 100}, ANSWER, "stop"),
        ({"action": "degrade"}, ANSWER, "stop"),
        ({"action": "disable-tools"}, ANSWER, "stop"),
        ({}, b'{"choices":[{"finish_reason":"length"},{"finish_reason":"stop"}]}', "stop"),
        ({}, b'{"candidates":[{"finishReason":"STOP"},{"finishReason":"MAX_TOKENS"}]}', "STOP"),
    ],
)
def test_a_part_of_an_answer_or_a_poorer_one_is_not_kept(
    principal: Principal, facts: dict[str, Any], body: bytes, finish: str
) -> None:
    assert keep(principal, call_of(**facts), body, finish) is None


def test_the_answer_of_a_fallback_that_stands_in_for_its_routes_models_is_not_kept(principal: Principal) -> None:
    assert keep(principal, call_of(), plan=OF_A_STAND_IN) is None
    assert keep(principal, call_of()) is not None


def test_several_answers_that_have_all_ended_are_kept(principal: Principal) -> None:
    several = b'{"choices":[{"finish_reason":"stop"},{"finish_reason":"tool_calls"}]}'
    assert keep(principal, call_of(), several).body == several


def test_an_answer_is_not_given_again_beyond_its_time(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep(principal, call_of(), seconds=3600) is not None
    later = time.time() + 61
    monkeypatch.setattr("spendhub.gateway.response_cache.time.time", lambda: later)
    assert asyncio.run(Caching("a-key", 100).find(principal.tenant_id)) is not None
    assert asyncio.run(Caching("a-key", 61).find(principal.tenant_id)) is None


def at(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is so many seconds after 1970, for the store too."""
    monkeypatch.setattr("spendhub.gateway.response_cache.time.time", lambda: seconds)


def test_who_wants_a_fresh_answer_leaves_it_to_those_who_take_an_older_one(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    at(began, monkeypatch)
    assert keep(principal, call_of(), b"first", seconds=3600).ends_at == began + 3600
    at(began + 2, monkeypatch)
    assert asyncio.run(Caching("a-key", 1).find(principal.tenant_id)) is None
    # It is kept as long as the first one would have been.
    assert keep(principal, call_of(), b"second", seconds=1).ends_at == began + 3600
    at(began + 10, monkeypatch)
    found = asyncio.run(Caching("a-key", 3600).find(principal.tenant_id))
    assert found is not None and found.body == b"second"
    assert asyncio.run(Caching("a-key", 5).find(principal.tenant_id)) is None


def test_who_takes_an_older_answer_has_it_kept_for_longer(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    at(began, monkeypatch)
    keep(principal, call_of(), b"first", seconds=10)
    at(began + 5, monkeypatch)
    assert keep(principal, call_of(), b"second", seconds=3600).ends_at == began + 5 + 3600


def test_what_an_answer_has_saved_is_all_that_it_had_cost_the_first_time(principal: Principal) -> None:
    """With the attempts that broke off before it, its reviews and its judges."""
    kept = keep(principal, call_of(cost_nano_usd=4_200_000, all_nano_usd=9_700_000))
    sent: list[Any] = []
    asyncio.run(answer_from_cache(exchange_of(sent=sent), principal, request_of(), FAQ, kept))
    assert dict(sent[0]["headers"])[b"x-spendhub-saved"] == b"0.0097"
    assert usage_of(factories.acme())["saved"] == "0.0097"


def test_an_answer_of_a_model_that_was_switched_off_is_not_given_again(principal: Principal) -> None:
    assert keep(principal, call_of()) is not None
    model = factories.ModelFactory(name="small")
    model.is_enabled = False
    model.save()
    refresh_all()
    assert asyncio.run(Caching("a-key", 60).find(principal.tenant_id)) is None


def test_what_is_no_answer_of_ours_is_asked_for_anew(principal: Principal) -> None:
    for rubbish in (b"rubbish", "text", 5):
        caches["answers"].set("a-key", rubbish)
        assert asyncio.run(Caching("a-key", 60).find(principal.tenant_id)) is None


def test_what_is_kept_is_sealed_for_its_place_and_opens_at_no_other(principal: Principal) -> None:
    kept = keep(principal, call_of())
    stored = caches["answers"].get("a-key")
    assert ANSWER not in base64.urlsafe_b64decode(stored)
    assert ANSWER in open_for("response cache a-key", stored)  # without the seal it lies there as it is
    caches["answers"].set("another-key", stored)
    assert asyncio.run(Caching("another-key", 60).find(principal.tenant_id)) is None
    assert asyncio.run(Caching("a-key", 60).find(principal.tenant_id)) == kept


def test_an_answer_whose_encryption_key_is_gone_is_asked_for_anew(principal: Principal, settings: Any) -> None:
    settings.ENCRYPTION_KEYS, settings.SECRET_KEY = [], "one"
    assert keep(principal, call_of()) is not None
    settings.SECRET_KEY = "another"
    assert asyncio.run(Caching("a-key", 60).find(principal.tenant_id)) is None


def test_a_hit_costs_nothing_and_says_what_it_has_saved(principal: Principal) -> None:
    kept = keep(principal, call_of())
    sent: list[Any] = []
    asyncio.run(answer_from_cache(exchange_of(sent=sent), principal, request_of(), FAQ, kept))
    start, body = sent
    headers = dict(start["headers"])
    assert (start["status"], body["body"], headers[b"content-length"]) == (200, ANSWER, str(len(ANSWER)).encode())
    told = {name.decode(): value.decode() for name, value in headers.items() if name.startswith(b"x-spendhub")}
    request_id = told.pop("x-spendhub-request-id")
    assert told == {
        "x-spendhub-cache": "hit", "x-spendhub-cost": "0.00", "x-spendhub-saved": "0.0042",
        "x-spendhub-model": "small", "x-spendhub-decision": "allow",
    }  # fmt: skip
    span = CostSpan.objects.for_tenant(principal.tenant_id).get(request_id=request_id)
    assert (span.cost_nano_usd, span.status, span.source, span.feature) == (0, "ok", "gateway", "faq")
    assert (span.model, span.provider, span.output_tokens, span.duration_ms) == ("small", "vendor", 300, None)
    assert span.metadata == {"cache": "hit", "saved_nano_usd": COST}


def test_a_hit_does_not_wait_for_counters_that_do_not_answer(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def look_in_vain(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(0)
        raise CounterStoreDown("the counters do not answer")

    monkeypatch.setattr(response_cache, "look_for", look_in_vain)
    kept = keep(principal, call_of())
    sent: list[Any] = []
    asyncio.run(answer_from_cache(exchange_of(sent=sent), principal, request_of(), FAQ, kept))
    assert (sent[0]["status"], sent[1]["body"]) == (200, ANSWER)
    assert "says nothing of its budgets: the counters do not answer" in caplog.text


def usage_of(tenant: Any) -> Any:
    secret = factories.ApiKeyFactory(tenant=tenant).secret
    refresh_all()
    answer = Client().get("/api/v1/usage", headers={"authorization": f"Bearer {secret}"})
    return answer.json()["totals"]


def test_usage_tells_the_savings_of_its_tenant_alone(principal: Principal) -> None:
    kept = keep(principal, call_of())
    for _ in range(3):
        asyncio.run(answer_from_cache(exchange_of(sent=[]), principal, request_of(), FAQ, kept))
    told = usage_of(factories.acme())
    assert (told["calls"], told["cost"], Decimal(told["saved"])) == (3, "0.00", Decimal("0.0126"))
    assert usage_of(factories.globex())["saved"] == "0.00"


def test_rules_are_edited_over_the_api_by_their_tenant_alone() -> None:
    def call(tenant: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {factories.ApiKeyFactory(tenant=tenant).secret}"}
        refresh_all()
        given = {"data": json.dumps(body), "content_type": "application/json"} if body is not None else {}
        answer = getattr(Client(), method)(f"/api/v1/cache-rules{path}", headers=headers, **given)
        return answer.status_code, answer.json() if answer.content else None

    acme, globex = factories.acme(), factories.globex()
    status, made = call(acme, "post", "", {"feature": "faq", "ttl_seconds": 60})
    assert (status, made) == (201, {"id": made["id"], "feature": "faq", "ttl_seconds": 60, "is_enabled": True})
    assert ttl_of(acme.pk, "faq") == 60
    assert call(acme, "post", "", {"feature": "faq"})[0] == 409
    for wrong in ({"feature": "x", "ttl_seconds": 604801}, {"feature": "x", "ttl_seconds": 0}, {"feature": ""}, {}):
        assert call(acme, "post", "", wrong)[0] == 400
    status, of_all = call(acme, "post", "", {"feature": " * ", "ttl_seconds": 30})
    assert (status, of_all["feature"], ttl_of(acme.pk, "another")) == (201, "*", 30)
    assert call(acme, "delete", f"/{of_all['id']}")[0] == 204
    assert call(globex, "get", "")[1]["results"] == []
    assert call(globex, "patch", f"/{made['id']}", {"is_enabled": False})[0] == 404
    assert call(globex, "delete", f"/{made['id']}")[0] == 404
    assert call(acme, "patch", f"/{made['id']}", {"ttl_seconds": 120})[0] == 200
    assert ttl_of(acme.pk, "faq") == 120
    assert call(acme, "delete", f"/{made['id']}")[0] == 204
    assert ttl_of(acme.pk, "faq") == 0
