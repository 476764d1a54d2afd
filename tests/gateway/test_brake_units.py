"""Brakes: what counts as the same request, when a brake acts, what it does, and how calls go on again."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import Error as DatabaseProblem
from django.test import Client
from django.utils import timezone

from spendhub.gateway import brake as brakes_of_calls
from spendhub.gateway.brake import COUNTS, Counts, apply_brakes
from spendhub.gateway.canonical import canonical_last_turn
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.holding import never
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Change
from spendhub.tenants.snapshot import ACCESS, Principal
from telemetry.brake_stops import Seen, close_ended_stops, open_stop, resume
from telemetry.brakes import CallPaused, caller_of, scope_of_call
from telemetry.models import Brake, BrakeStop
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

BODY: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
S1 = Attribution(session="s1", user="ada")
S2 = Attribution(session="s2", user="ada")


@pytest.fixture(autouse=True)
def fresh_counts() -> Iterator[None]:
    COUNTS.forget()
    yield
    COUNTS.forget()


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long calls were made to wait; nobody waits in a test."""
    taken: list[float] = []

    async def nap(seconds: float, client_left: Any) -> None:
        taken.append(seconds)

    monkeypatch.setattr(brakes_of_calls, "pause_while_wanted", nap)
    return taken


@pytest.fixture
def principal() -> Principal:
    return principal_of("acme")


def principal_of(slug: str) -> Principal:
    key = factories.ApiKeyFactory(tenant=getattr(factories, slug)())
    refresh_all()
    return ACCESS.current().identify(key.secret, key.created_at)


def define(principal: Principal, **facts: Any) -> Brake:
    values = {"name": "loops", "repeats": 2, "within_seconds": 300, "action": "pause", **facts}
    brake = Brake.objects.create(tenant_id=principal.tenant_id, **values)
    refresh_all()
    return brake


def call(principal: Principal, who: Attribution = S1, body: dict[str, Any] | None = None) -> list[str]:
    """Makes one call; the warnings of its answer."""
    request = CallRequest(wire="chat", body=BODY if body is None else body, model="small")
    headers = asyncio.run(apply_brakes(principal, request, who, never))
    assert {name for name, _ in headers} <= {b"x-spendhub-warning"}
    return [value.decode() for _, value in headers]


def is_paused(principal: Principal, who: Attribution = S1, body: dict[str, Any] | None = None) -> bool:
    try:
        call(principal, who, body)
    except CallPaused:
        return True
    return False


def stops(principal: Principal) -> list[BrakeStop]:
    return list(BrakeStop.objects.for_tenant(principal.tenant_id).order_by("since"))


def test_without_brakes_nothing_is_counted(principal: Principal) -> None:
    define(principal, is_enabled=False)
    for _ in range(5):
        assert call(principal) == []
    assert COUNTS._found == {}


def test_so_many_repeats_pass_and_the_next_pauses_the_whole_session(principal: Principal) -> None:
    brake = define(principal)
    assert [call(principal), call(principal)] == [[], []]
    with pytest.raises(CallPaused) as paused:
        call(principal)
    [stop] = stops(principal)
    assert paused.value.code == "call_paused"
    assert paused.value.retry_after_seconds == 60  # until somebody resumes it
    assert paused.value.details == {
        "retry_after_seconds": 60, "brake": "loops", "scope": {"type": "session", "key": "s1"},
        "reason": "the same request 3 times within 300 s", "stop_id": str(stop.pk), "ends_at": None,
    }  # fmt: skip
    assert f"POST /api/v1/brake-stops/{stop.pk}/resume" in paused.value.message
    assert (stop.brake_id, stop.scope_type, stop.scope_key, stop.cause, stop.action) == (
        brake.pk, "session", "s1", "repeats", "pause",
    )  # fmt: skip
    assert is_paused(principal, body={"model": "small", "messages": []})  # whatever else it asks
    assert not is_paused(principal, S2)
    assert not is_paused(principal_of("globex"))
    assert len(stops(principal)) == 1


def test_different_requests_are_no_repeats(principal: Principal) -> None:
    define(principal, repeats=1)
    for number in range(5):
        assert call(principal, body={**BODY, "temperature": number / 10}) == []


def test_the_caller_is_the_session_else_the_user_else_the_agent_else_the_key() -> None:
    who = Attribution(org="o", user="u", agent="a", feature="f", session="s", task="t")
    assert caller_of(who, "k") == ("session", "s")
    assert caller_of(replace(who, session=None), "k") == ("user", "u")
    assert caller_of(replace(who, session=None, user=None), "k") == ("agent", "a")
    assert caller_of(Attribution(feature="f"), "k") == ("api_key", "k")
    found = [scope_of_call(each, who, "k") for each in ("org", "feature", "task", "api_key")]
    assert found == [("org", "o"), ("feature", "f"), ("task", "t"), ("api_key", "k")]
    assert scope_of_call("feature", Attribution(user="u"), "k") is None


def test_a_paused_key_stops_only_calls_that_name_nobody(principal: Principal) -> None:
    define(principal)
    nobody = Attribution()
    assert [is_paused(principal, nobody) for _ in range(4)] == [False, False, True, True]
    assert not is_paused(principal, S1)


def test_a_brake_on_users_stops_all_sessions_of_one(principal: Principal) -> None:
    define(principal, scope_type="user")
    assert [is_paused(principal, who) for who in (S1, S2, S1, S2)] == [False, False, True, True]
    assert not is_paused(principal, Attribution(user="ben", session="s1"))
    assert not is_paused(principal, Attribution(session="s1"))


def test_a_warning_comes_with_each_repeat_and_is_recorded_once(principal: Principal) -> None:
    define(principal, action="warn", name="käfig")
    told = [call(principal) for _ in range(4)]
    assert told == [
        [], [],
        ["brake 'k?fig': warn (the same request 3 times within 300 s)"],
        ["brake 'k?fig': warn (the same request 4 times within 300 s)"],
    ]  # fmt: skip
    assert call(principal, body={"model": "small", "messages": []}) == []
    [stop] = stops(principal)
    assert stop.ends_at == stop.since + timedelta(seconds=300)


def test_a_slowed_call_waits_and_passes(principal: Principal, naps: list[float]) -> None:
    define(principal, action="slow", slow_seconds=7)
    told = [call(principal) for _ in range(3)]
    assert (naps, len(told[2])) == ([7.0], 1)


def test_no_call_waits_longer_than_ten_seconds(principal: Principal, naps: list[float]) -> None:
    brake = define(principal, action="slow")
    Brake.objects.for_tenant(principal.tenant_id).filter(pk=brake.pk).update(slow_seconds=600)
    brake.refresh_from_db()
    brake.save()
    refresh_all()
    for _ in range(3):
        call(principal)
    assert naps == [10.0]


def test_a_resumed_session_goes_on_and_is_counted_anew(principal: Principal) -> None:
    define(principal)
    for _ in range(3):
        is_paused(principal)
    [stop] = stops(principal)
    resume(stop, "user:ada", timezone.now())
    assert [is_paused(principal) for _ in range(4)] == [False, False, True, True]
    first, second = stops(principal)
    assert (first.is_open, first.resumed_by, second.is_open) == (False, "user:ada", True)
    [change] = Change.objects.for_tenant(principal.tenant_id).filter(action="resume")
    assert (change.actor, change.subject) == ("user:ada", "loops: session s1")


def test_a_pause_with_an_end_ends_by_itself(principal: Principal) -> None:
    brake = define(principal, pause_seconds=900)
    now = timezone.now()
    scope = ("session", "s1")
    assert open_stop(Seen(principal.tenant_id, brake.pk, scope, "repeats", "because", now - timedelta(seconds=450)))
    with pytest.raises(CallPaused) as paused:
        call(principal)
    assert 420 <= paused.value.retry_after_seconds <= 450
    [stop] = stops(principal)
    stop.ends_at = now
    stop.save()
    refresh_all()
    assert not is_paused(principal)
    assert close_ended_stops(timezone.now()) == 1
    assert [each.is_open for each in stops(principal)] == [False]


def test_an_open_stop_is_found_and_one_that_has_ended_makes_way(principal: Principal) -> None:
    brake = define(principal, action="warn", within_seconds=60)
    begin = timezone.now()

    def seen(after_seconds: int) -> Any:
        now = begin + timedelta(seconds=after_seconds)
        return open_stop(Seen(principal.tenant_id, brake.pk, ("user", "ada"), "spend", "because", now))

    first, second, third = seen(0), seen(30), seen(91)
    assert first.id == second.id != third.id
    assert second.ends_at == begin + timedelta(seconds=90)  # it is still so, and ends later
    assert [each.is_open for each in stops(principal)] == [False, True]


def test_what_a_brake_stopped_goes_on_when_it_is_switched_off_or_deleted(principal: Principal) -> None:
    brake = define(principal)
    for _ in range(3):
        is_paused(principal)
    brake.is_enabled = False
    brake.save()
    refresh_all()
    assert not is_paused(principal)
    assert open_stop(Seen(principal.tenant_id, brake.pk, ("session", "s1"), "repeats", "", timezone.now())) is None
    brake.delete()
    refresh_all()
    assert not is_paused(principal)
    assert [(each.brake_id, each.brake_name) for each in stops(principal)] == [(None, "loops")]


def test_the_call_is_refused_even_where_it_cannot_be_recorded(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(principal)

    def broken(seen: Seen) -> None:
        raise DatabaseProblem("away")

    monkeypatch.setattr("telemetry.brake_stops.open_stop", broken)
    assert [is_paused(principal) for _ in range(3)] == [False, False, True]
    assert stops(principal) == []
    # The session is not paused as a whole: nobody could resume what is not on record.
    assert not is_paused(principal, body={"model": "small", "messages": []})


def tool_turn(number: int, said: str) -> dict[str, Any]:
    history = [{"role": "user", "content": "find it"}] + [{"role": "assistant", "content": "again"}] * number
    last = {"role": "tool", "tool_call_id": f"call_{number}", "content": said}
    return {"model": "small", "messages": [*history, last]}


def test_an_agent_whose_history_grows_is_caught_by_its_last_turn(principal: Principal) -> None:
    define(principal, compares="last-turn")
    assert [is_paused(principal, body=tool_turn(n, "no such file")) for n in range(3)] == [False, False, True]
    assert [is_paused(principal, S2, tool_turn(n, f"line {n}")) for n in range(3)] == [False, False, False]


def test_the_last_turn_is_found_in_every_dialect() -> None:
    message = {"role": "user", "content": "hi"}
    anthropic = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "no"}]}
    responses = {"type": "function_call_output", "call_id": "call_1", "output": "no"}
    assert canonical_last_turn({"messages": [{}, message]}) == canonical_last_turn({"messages": [message], "n": 2})
    assert b"toolu_1" not in canonical_last_turn({"messages": [anthropic]})
    assert b"call_1" not in canonical_last_turn({"input": [message, responses]})
    assert canonical_last_turn({"input": "hi"}) == b'{"input":"hi"}'


def test_counts_begin_with_the_first_and_end_with_the_window() -> None:
    counts = Counts()
    assert [counts.add("a", 10, now) for now in (0.0, 5.0, 9.9, 10.0, 10.1)] == [1, 2, 3, 1, 2]
    assert counts.add("b", 10, 0.0) == 1


def test_counts_are_bounded() -> None:
    counts = Counts(most=10)
    for number in range(100):
        counts.add(str(number), 1_000, 0.0)
    assert len(counts._found) <= 10
    assert counts.add("99", 1_000, 0.0) == 2  # the latest are still there


def test_brakes_count_in_redis_for_all_processes_where_it_is(
    principal: Principal, settings: Any, valkey_url: str
) -> None:
    settings.REDIS_URL = valkey_url
    redis_cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": valkey_url}
    settings.CACHES = dict.fromkeys(settings.CACHES, redis_cache)
    define(principal)
    assert [is_paused(principal), is_paused(principal)] == [False, False]
    assert COUNTS._found == {}
    assert is_paused(principal)


def test_without_redis_a_process_counts_for_itself(
    principal: Principal, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brakes_of_calls, "_redis_rests_until", 0.0)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    asked = []

    def broken(key: str, within_seconds: int) -> int:
        asked.append(key)
        raise brakes_of_calls.RedisError("away")

    monkeypatch.setattr(brakes_of_calls, "_add_in_redis", broken)
    define(principal, action="warn")
    assert [len(call(principal)) for _ in range(3)] == [0, 0, 1]
    assert len(asked) == 1  # and then left alone for a while


class Caller:
    """Someone with a key."""

    def __init__(self, tenant: Any, **key: Any) -> None:
        secret = factories.ApiKeyFactory(tenant=tenant, **key).secret
        refresh_all()
        self._headers = {"authorization": f"Bearer {secret}"}

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        given = {"data": json.dumps(body), "content_type": "application/json"} if body is not None else {}
        answer = getattr(Client(), method)(f"/api/v1/{path}", headers=self._headers, **given)
        return answer.status_code, answer.json() if answer.content else None


def test_brakes_are_edited_over_the_api_and_in_force_at_once(principal: Principal) -> None:
    acme, globex = Caller(factories.acme()), Caller(factories.globex())
    status, made = acme.call("post", "brakes", {"name": "loops", "repeats": 1, "action": "pause"})
    assert status == 201
    assert made | {"id": ""} == {
        "id": "", "name": "loops", "scope_type": "caller", "repeats": 1, "compares": "whole", "within_seconds": 300,
        "spend_factor": None, "spend_least": "1.00", "action": "pause", "slow_seconds": 2, "pause_seconds": None,
        "is_enabled": True,
    }  # fmt: skip
    assert [is_paused(principal), is_paused(principal)] == [False, True]
    assert acme.call("post", "brakes", {"name": "loops"})[0] == 409
    wrong: list[dict[str, Any]] = [
        {}, {"name": "x", "repeats": None}, {"name": "x", "repeats": 0}, {"name": "x", "spend_factor": "1"},
        {"name": "x", "slow_seconds": 11}, {"name": "x", "action": "shout"}, {"name": "x", "within_seconds": 86_401},
        {"name": "x", "scope_type": "tenant"}, {"name": "x", "spend_least": "-1"},
    ]  # fmt: skip
    assert [acme.call("post", "brakes", body)[0] for body in wrong] == [400] * len(wrong)
    assert acme.call("patch", f"brakes/{made['id']}", {"repeats": None})[0] == 400
    assert acme.call("patch", f"brakes/{made['id']}", {"repeats": None, "spend_factor": "10"})[0] == 200
    assert globex.call("get", "brakes")[1]["results"] == []
    for method, body in (("get", None), ("patch", {"is_enabled": False}), ("delete", None)):
        assert globex.call(method, f"brakes/{made['id']}", body)[0] == 404
    assert acme.call("delete", f"brakes/{made['id']}")[0] == 204


def test_stops_are_listed_and_resumed_over_the_api_by_who_may_manage(principal: Principal) -> None:
    define(principal)
    for _ in range(3):
        is_paused(principal)
    [stop] = stops(principal)
    acme, globex = Caller(factories.acme()), Caller(factories.globex())
    reader = Caller(factories.acme(), permissions=("read", "spend"))
    [told] = reader.call("get", "brake-stops?in_force=true")[1]["results"]
    assert (told["scope_key"], told["is_in_force"], told["cause"]) == ("s1", True, "repeats")
    assert acme.call("get", "brake-stops?in_force=false")[1]["results"] == []
    assert acme.call("get", "brake-stops?scope_type=user")[1]["results"] == []
    assert globex.call("get", "brake-stops")[1]["results"] == []
    assert globex.call("get", f"brake-stops/{stop.pk}")[0] == 404
    assert globex.call("post", f"brake-stops/{stop.pk}/resume")[0] == 404
    assert reader.call("post", f"brake-stops/{stop.pk}/resume")[0] == 403
    assert is_paused(principal)
    status, told = acme.call("post", f"brake-stops/{stop.pk}/resume")
    assert (status, told["is_in_force"], told["resumed_by"][:4]) == (200, False, "key:")
    assert not is_paused(principal)
    assert acme.call("post", f"brake-stops/{stop.pk}/resume")[1]["resumed_at"] == told["resumed_at"]
    assert [each["id"] for each in acme.call("get", "brake-stops?in_force=false")[1]["results"]] == [str(stop.pk)]
    assert acme.call("get", f"brake-stops?brake_id={uuid.uuid4()}")[1]["results"] == []
