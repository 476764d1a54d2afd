"""Whatever is sent to the routes of routing, quality, savings and brakes: a 4xx in the native shape, nothing written."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from routing.breakers import BREAKERS
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from telemetry.models import Brake, BrakeStop
from tests import factories
from tests.budgets.api import client_of
from tests.routes import Route as AnyRoute
from tests.routes import every_route
from tests.telemetry.test_experiments import book
from tests.worlds import dump

pytestmark = [pytest.mark.django_db, pytest.mark.once]

ABSENT = object()


@dataclass(frozen=True)
class Route:
    """A route that takes a body: one that it takes, what its fields may not hold, and its status when all is well."""

    good: dict[str, Any]
    bad: tuple[tuple[str, Any], ...]
    status: int = 201


NAMES: tuple[Any, ...] = (ABSENT, None, 7, "", "x" * 10_000, "a\nb", ["a"])
FLAGS: tuple[Any, ...] = (None, 1, "true", [])
WORDS: tuple[Any, ...] = ("a", {}, [7], [["a"]], ["x" * 10_000])


def each(field: str, values: tuple[Any, ...]) -> tuple[tuple[str, Any], ...]:
    return tuple((field, value) for value in values)


WHOLE: tuple[Any, ...] = (-1, 1.5, "5", True, 10**30, [])
POSTS = {
    "routes": Route(
        {"name": "support", "strategy": "cost-optimized"},
        (
            *each("name", (*NAMES, "a b", "ünïcode")), *each("strategy", (7, "", "astrology", "x" * 10_000, [])),
            *each("models", (*WORDS, ["no-such-model"])), *each("fallback", (*WORDS, ["no-such-model"])),
            *each("match", (7, "x", [], {"colour": "red"}, {"user": 7}, {"user": [[]]}, {"user": "a\nb"})),
            *each("options", (7, "x", [], {"colour": 1}, {"timeout_ms": -1}, {"timeout_ms": 10**30},
                              {"max_cost": "NaN"}, {"deny": [7]}, {"region": {}}, {"retries": True})),
            *each("priority", (*WHOLE, 1001)), *each("is_enabled", FLAGS), ("colour", 1),
        ),
    ),
    "routes/dry-run": Route(
        {"prompt": "hello"},
        (
            *each("model", (7, "", "x" * 10_000, "a\nb")), *each("prompt", (7, [], "x" * 300_000)),
            *each("messages", ("x", {}, [7], [[]])), *each("body", (7, "x", [])),
            *each("attribution", ([], {"colour": "red"}, {"user": 7}, {"user": "a\nb"}, {"user": "x" * 10_000})),
            *each("kind", (7, "poetry")), *each("input_tokens", WHOLE), *each("max_output_tokens", (0, *WHOLE)),
            *each("strategy", (7, [], "x" * 10_000)), *each("capabilities", (*WORDS, ["flying"])),
            *each("min_quality", (7, "best")), *each("max_cost", (-1, "NaN", "x", True, [], 10**30)),
            *each("max_latency_ms", (0, *WHOLE)), *each("timeout_ms", (0, *WHOLE)), *each("region", (7, [])),
            *each("allow", WORDS), *each("deny", WORDS), *each("user_tier", (7, "king")),
            *each("confidence_threshold", (-0.1, 1.1, "x", [], 10**400)), *each("budget_share_left", (2, {}, 10**400)),
            ("colour", 1),
        ),
        200,
    ),
    "credentials": Route(
        {"provider": "vendor", "name": "main", "secret": "sk-0123456789-abcdef"},
        (
            *each("provider", (ABSENT, None, 7, "", "nobody", [], "x" * 10_000)), *each("name", NAMES[2:]),
            *each("secret", (ABSENT, None, 7, "", "with space", "ünïcode", "x" * 100_000, "a\nb", [])),
            *each("weight", (0, 1001, *WHOLE)), *each("is_enabled", FLAGS), ("colour", 1),
        ),
    ),
    "feedback": Route(
        {"request_id": "r-1", "thumbs": "up"},
        (
            *each("request_id", (7, "", "x" * 10_000, "a\nb", [])), *each("span_id", (-1, 10**40, "x", [])),
            *each("thumbs", (7, "sideways", [], "")), *each("scores", (7, [], {"colour": 1}, {"overall": 6},
                  {"overall": -1}, {"overall": "5"}, {"overall": True}, {"overall": 10**400}, {"overall": [1]})),
            *each("source", (7, "oracle")), *each("comment", (7, "x" * 501, "a\x01b")), *each("task", (7, "x" * 201)),
            ("colour", 1),
        ),
    ),
    "cache-rules": Route(
        {"feature": "faq", "ttl_seconds": 60},
        (
            *each("feature", NAMES), *each("ttl_seconds", (0, *WHOLE, 10**7)), *each("is_enabled", FLAGS),
            ("colour", 1),
        ),
    ),
    "brakes": Route(
        {"name": "loops", "repeats": 5},
        (
            *each("name", NAMES), *each("scope_type", (7, "planet")), *each("repeats", (*WHOLE, None)),
            *each("compares", (7, "half")), *each("within_seconds", (0, *WHOLE)),
            *each("spend_factor", (-1, "NaN", "Infinity", "x", True, [], 10**30, "1e999")),
            *each("spend_least", (-1, "NaN", "x", True, [], 10**30)), *each("action", (7, "explode")),
            *each("slow_seconds", (0, 100, *WHOLE)), *each("pause_seconds", (0, *WHOLE)),
            *each("is_enabled", FLAGS), ("colour", 1),
        ),
    ),
}  # fmt: skip
LISTS = {
    "routes": ("name=%00", "strategy=a%0Ab", "enabled=maybe"),
    "credentials": ("provider=%00", "provider=" + "x" * 300),
    "feedback": ("thumbs=sideways", "span_id=x", "model=%00", "from=soon", "to=2999999", "colour=red", "limit=-1"),
    "quality": ("group_by=user", "task=" + "x" * 300, "from=2026-02-01&to=2026-01-01", "colour=red"),
    "shadow": ("strategy=astrology", "strategy=x&model=y", "model=%00", "from=never", "colour=red"),
    "cache-rules": ("limit=0", "limit=x", "cursor=%00"),
    "brakes": ("limit=501", "cursor=x"),
    "brake-stops": ("in_force=perhaps", "brake_id=7", "scope_type=planet", "scope_key=%00", "colour=red"),
    "experiments": ("from=x", "to=%00", "colour=red", "from=2026-02-01&to=2026-01-01"),
    "experiments/nothing": ("from=x", "colour=red"),
    "performance": ("group_by=user", "from=x", "feature=%00", "source=" + "x" * 300, "colour=red"),
    "breakers": ("state=ajar", "provider=%00", "model=" + "x" * 300, "colour=red"),
}
NOBODY = "01a20f64-0000-7000-8000-000000000000"
NOWHERE = (
    "routes/x", "routes/%00", f"routes/{NOBODY}", f"credentials/{NOBODY}", "cache-rules/x",
    "cache-rules/99999999999999999999", f"brakes/{NOBODY}", "brakes/7", f"brake-stops/{NOBODY}",
    "experiments/nothing", "experiments/%00", "experiments/%ff", "experiments/" + "x" * 2_000, "experiments/a/b/../c",
    "feedback/1", "quality/x", "quality-weights/1", "performance/x", "breakers/x", "shadow/x",
)  # fmt: skip
RAW = {
    "empty": b"",
    "not JSON": b"hello",
    "cut off": b'{"name": "a',
    "a number": b"7",
    "a text": b'"x"',
    "null": b"null",
    "a list": b"[]",
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"priority": Infinity}',
    "a number beyond all floats": b'{"weight": 1e999}',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "half a surrogate": b'{"name": "\\ud800"}',
    "NUL": b'{"name": "a\\u0000b"}',
    "a raw control character": b'{"name": "a\x01b"}',
    "too deep": b'{"name": ' + b"[" * 100 + b"]" * 100 + b"}",
    "without end": b'{"a":' * 100_000,
    "ten megabytes": b'{"name": "' + b"x" * 10_000_000 + b'"}',
}


@functools.cache
def documented() -> Any:
    """The OpenAPI description."""
    return SchemaGenerator().get_schema(request=None, public=True)


def is_paged(route: AnyRoute) -> bool:
    """Whether it lists rows, all of an account's."""
    return getattr(route.callback, "actions", {}).get("get") == "list" and not route.parameters


@pytest.fixture
def acme(db: None) -> Tenant:
    return factories.acme()


@pytest.fixture
def client(acme: Tenant) -> Iterator[APIClient]:
    """With acme's key, beside one model, its vendor, and one recorded call."""
    factories.PriceFactory(model__name="small", model__provider=factories.ProviderFactory(name="vendor"))
    [call] = book(acme, "small")
    type(call).objects.for_tenant(acme).filter(pk=call.pk).update(request_id="r-1")
    yield client_of(acme)
    BREAKERS.forget()


def send(client: APIClient, method: str, path: str, content: bytes | dict[str, Any] = b"") -> Any:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return client.generic(method, f"/api/v1/{path}", raw, content_type="application/json")


def must_be_refused(answer: Any) -> dict[str, Any]:
    """A 4xx in the native shape; its error."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.content[:300])
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"code", "message", "details"} and error["code"] and error["message"]
    return error


@pytest.mark.parametrize("path", POSTS)
def test_each_good_body_is_taken(client: APIClient, path: str) -> None:
    """Negative control: it is the bad part that is refused."""
    assert send(client, "POST", path, POSTS[path].good).status_code == POSTS[path].status


@pytest.mark.parametrize("path", POSTS)
def test_a_bad_field_is_refused_by_its_name_and_nothing_is_written(acme: Tenant, client: APIClient, path: str) -> None:
    before, missed = dump(acme), []
    for field, value in POSTS[path].bad:
        body = {name: given for name, given in {**POSTS[path].good, field: value}.items() if given is not ABSENT}
        if field == "span_id":
            body.pop("request_id")  # one of the two names the call
        answer = send(client, "POST", path, body)
        if not 400 <= answer.status_code < 500:
            missed.append((field, str(value)[:40], answer.status_code))
            continue
        details = must_be_refused(answer)["details"]
        if field not in {details.get("field"), *details.get("fields", {})}:
            missed.append((field, str(value)[:40], details))
    assert missed == []
    assert dump(acme) == before


@pytest.mark.parametrize("path", [path for path in POSTS if path not in ("routes/dry-run", "feedback")])
def test_an_edit_is_refused_as_a_new_row_is(acme: Tenant, client: APIClient, path: str) -> None:
    made = send(client, "POST", path, POSTS[path].good).json()
    before, missed = dump(acme), []
    for field, value in POSTS[path].bad:
        if value is ABSENT or (path, field, value) == ("brakes", "repeats", None):
            continue
        answer = send(client, "PATCH", f"{path}/{made['id']}", {field: value})
        if not 400 <= answer.status_code < 500:
            missed.append((field, str(value)[:40], answer.status_code))
    assert missed == []
    assert dump(acme) == before


@pytest.mark.parametrize("what", RAW)
def test_what_is_no_body_at_all_is_refused(acme: Tenant, client: APIClient, what: str) -> None:
    before = dump(acme)
    for path in POSTS:
        answer = send(client, "POST", path, RAW[what])
        if (path, what) == ("routes/dry-run", "empty") and answer.status_code == 200:
            continue
        must_be_refused(answer)
        assert answer.status_code == (413 if what == "ten megabytes" else 400), path
    assert dump(acme) == before


@pytest.mark.parametrize("path", LISTS)
def test_a_bad_query_is_refused(client: APIClient, path: str) -> None:
    missed = []
    for query in LISTS[path]:
        answer = client.get(f"/api/v1/{path}?{query}")
        if answer.status_code != 400 or set(answer.json()["error"]) != {"code", "message", "details"}:
            missed.append((query[:40], answer.status_code))
    assert missed == []


PAGED = sorted(route.template for route in every_route("/api/v1/") if is_paged(route))


@pytest.mark.parametrize("path", PAGED)
def test_a_list_refuses_a_parameter_that_it_does_not_know(client: APIClient, path: str) -> None:
    answer = client.get(f"{path}?limit=5&colour=red")
    error = must_be_refused(answer)
    assert (answer.status_code, error["code"], error["details"]) == (400, "invalid_query", {"field": "colour"})
    assert client.get(f"{path}?limit=5").status_code == 200  # negative control


@pytest.mark.parametrize("path", PAGED)
def test_a_list_knows_each_parameter_that_is_documented(client: APIClient, path: str) -> None:
    described = documented()["paths"][path]["get"]["parameters"]
    for name in (each["name"] for each in described if each["in"] == "query"):
        answer = client.get(f"{path}?{name}=x")
        assert "there is no parameter" not in str(answer.content), name


def test_what_a_list_knows_is_told_with_the_refusal(client: APIClient) -> None:
    told = {path: must_be_refused(client.get(f"/api/v1/{path}?colour=red"))["message"] for path in ("routes", "keys")}
    assert told == {
        "routes": "there is no parameter 'colour'; there are cursor, enabled, limit, name, shared, strategy",
        "keys": "there is no parameter 'colour'; there are cursor, limit",
    }


@pytest.mark.parametrize("path", NOWHERE)
def test_what_is_not_there_is_a_404(client: APIClient, path: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        answer = send(client, method, path, {})
        must_be_refused(answer)
        assert answer.status_code == 400 if "%00" in path else answer.status_code in (404, 405), (
            method,
            answer.content,
        )


@pytest.mark.parametrize("path", ["quality", "shadow", "experiments", "performance", "breakers", "brake-stops"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_wrong_method_is_told(client: APIClient, path: str, method: str) -> None:
    answer = send(client, method, path, {})
    assert must_be_refused(answer)["code"] == "wrong_method"
    assert answer.status_code == 405 and "GET" in answer["Allow"]


def test_resuming_takes_any_body_and_only_a_stop_that_is_there(acme: Tenant, client: APIClient) -> None:
    brake = Brake.objects.create(tenant=acme, name="b")
    stop = BrakeStop.objects.create(
        tenant=acme, brake=brake, brake_name="b", scope_type="session", scope_key="s", cause="repeats", action="pause",
        reason="r", since=timezone.now(),
    )  # fmt: skip
    for content in (b"", b"[]", b'{"a": 1}', b"7"):
        assert send(client, "POST", f"brake-stops/{stop.pk}/resume", content).status_code < 500
    must_be_refused(send(client, "POST", f"brake-stops/{NOBODY}/resume", b""))
    must_be_refused(send(client, "POST", "brake-stops/x/resume", b""))


@pytest.mark.parametrize("path", dict.fromkeys([*LISTS, *POSTS]))
@pytest.mark.parametrize("key", ["", "Bearer", "Bearer x", "Basic abc", "Bearer sh_" + "x" * 5_000])
def test_no_good_key_is_a_401(client: APIClient, path: str, key: str) -> None:
    client.credentials(HTTP_AUTHORIZATION=key)
    method = "POST" if path in POSTS else "GET"
    assert must_be_refused(send(client, method, path, {}))["code"] in (
        "unidentified",
        "unknown_key",
        "too_many_failures",
    )


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["small", "vendor", "cost-optimized", "weighted", "pinned", "user", "up", "pause", "session"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["split", "model", "user", "feature", "small", "models", "role", "content",
                                       "text", "type", "overall", "sticky_by", "max_cost", "target_ms"]),
                      inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
@settings(max_examples=35, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_breaks_us(client: APIClient, path: str, data: st.DataObject) -> None:
    fields = sorted({field for field, _ in POSTS[path].bad})
    body = {**POSTS[path].good, **data.draw(st.dictionaries(st.sampled_from(fields), JUNK, max_size=3))}
    client.raise_request_exception = False
    answer = send(client, "POST", path, body)
    assert answer.status_code < 500, (answer.content[:300], body)
    if answer.status_code >= 400:
        must_be_refused(answer)
    elif path not in ("routes/dry-run", "feedback"):
        assert send(client, "DELETE", f"{path}/{answer.json()['id']}").status_code == 204
    refresh_all()
