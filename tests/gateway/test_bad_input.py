"""Whatever is sent to /v1, /v1beta or /api/router: a 4xx in the route's own shape, and nothing has been sent, booked or held."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.dialects.test_bad_input import (
    ABSENT,
    BAD_FIELDS,
    FIELDS,
    GOOGLES_NAMES,
    GOOGLES_VALUES,
    NAMES,
    VALUES,
)
from tests.gateway.error_shapes import Shape, anthropics, googles, openais, recipes
from tests.gateway.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.once]

HOLDER = "ada-of-bad-input"
TURNS = [{"role": "user", "content": "hello"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
# Their model stands in the address.
GOOGLES = ("generate", "stream_generate", "embed", "batch_embed", "count_googles")


@dataclass(frozen=True)
class Route:
    """A route that takes a body, one that it would answer, and how it writes its errors."""

    path: str
    good: dict[str, Any]
    shape: Shape
    # Of the fields that the dialects refuse (tests/gateway/dialects/test_bad_input.py), and of its own.
    bad_fields: tuple[tuple[str, Any], ...]
    is_call: bool = True

    def body(self, **changes: Any) -> bytes:
        """The good body with bad parts."""
        body = {**self.good, **changes}
        return json.dumps({name: value for name, value in body.items() if value is not ABSENT}).encode()


def bad_fields(dialect: str, *own: tuple[str, Any]) -> tuple[tuple[str, Any], ...]:
    return (*BAD_FIELDS["all"], *BAD_FIELDS[dialect], *own)


BAD_OF_GENERATE = (
    *BAD_FIELDS["generate"], ("generationConfig", {"temperature": "hot"}), ("generationConfig", {"topK": 0.5}),
    ("labels", {"task": 7}), ("cachedContent", "cachedContents/x"),
)  # fmt: skip
NOT_COUNTED = {"stream", "max_tokens"}
# The vendor here has no model for embeddings.
NO_MODEL = ("embeddings", "embed", "batch_embed")
ROUTER_FIELDS: tuple[tuple[str, Any], ...] = (
    ("prompt", ABSENT), ("prompt", None), ("prompt", ""), ("prompt", "  "), ("prompt", 7), ("prompt", ["x"]),
    ("maxTokens", 0), ("maxTokens", -1), ("maxTokens", 1.5), ("maxTokens", "5"), ("maxTokens", True),
    ("maxTokens", 10**30), ("requiredCapabilities", "tools"), ("requiredCapabilities", ["flying"]),
    ("requiredCapabilities", [7]), ("budgetId", 7), ("budgetId", ""), ("budgetId", "x\n"), ("budgetId", "x" * 10_000),
    ("strategy", 7), ("strategy", "astrology"), ("userTier", 7), ("timeoutMs", 0), ("timeoutMs", "fast"),
    ("timeoutMs", 10**30), ("confidenceThreshold", 2), ("confidenceThreshold", -0.1), ("confidenceThreshold", "high"),
    ("metadata", "x"), ("metadata", []),
)  # fmt: skip
ROUTES = {
    "chat": Route(
        "/v1/chat/completions",
        {"model": "vendor-chat", "messages": TURNS},
        openais,
        bad_fields(
            "chat", ("max_tokens", -5), ("max_tokens", 10**30), ("max_tokens", "10"), ("max_tokens", True),
            ("n", 10**9), ("user", 7), ("user", "ada\x00\n"), ("user", "x" * 10_000), ("metadata", {"task": 7}),
        ),
    ),
    "responses": Route(
        "/v1/responses",
        {"model": "vendor-chat", "input": "hello"},
        openais,
        bad_fields(
            "responses", ("max_output_tokens", 10**30), ("max_output_tokens", "10"), ("user", 7),
            ("user", "ada\x00\n"), ("metadata", {"task": 7}),
        ),
    ),
    "embeddings": Route(
        "/v1/embeddings",
        {"model": "vendor-chat", "input": "hello"},
        openais,
        bad_fields("embeddings", ("user", 7), ("user", "x" * 10_000), ("metadata", {"task": 7})),
    ),
    "messages": Route(
        "/v1/messages",
        {"model": "vendor-chat", "max_tokens": 5, "messages": TURNS},
        anthropics,
        bad_fields(
            "messages", ("max_tokens", -5), ("max_tokens", 10**30), ("max_tokens", True), ("metadata", {"user_id": 7}),
            ("metadata", {"task": 7}),
        ),
    ),
    "count_tokens": Route(
        "/v1/messages/count_tokens",
        {"model": "vendor-chat", "messages": TURNS},
        anthropics,
        tuple(case for case in bad_fields("messages") if case[0] not in NOT_COUNTED),
        is_call=False,
    ),
    "generate": Route(
        "/v1beta/models/vendor-chat:generateContent",
        {"contents": CONTENTS},
        googles,
        BAD_OF_GENERATE,
    ),
    "stream_generate": Route(
        "/v1beta/models/vendor-chat:streamGenerateContent?alt=sse",
        {"contents": CONTENTS},
        googles,
        BAD_OF_GENERATE,
    ),
    "embed": Route(
        "/v1beta/models/vendor-chat:embedContent",
        {"content": CONTENTS[0]},
        googles,
        (*BAD_FIELDS["embed"], ("labels", {"task": 7})),
    ),
    "batch_embed": Route(
        "/v1beta/models/vendor-chat:batchEmbedContents",
        {"requests": [{"content": CONTENTS[0]}]},
        googles,
        (*BAD_FIELDS["batch_embed"], ("labels", {"task": 7})),
    ),
    "count_googles": Route(
        "/v1beta/models/vendor-chat:countTokens",
        {"contents": CONTENTS},
        googles,
        tuple(case for case in BAD_FIELDS["generate"] if case[0] not in ("tools", "labels")),
        is_call=False,
    ),
    "router": Route("/api/router", {"prompt": "hello"}, recipes, ROUTER_FIELDS),
}  # fmt: skip
LOOKS: dict[str, Shape] = {
    "/v1/models": openais, "/v1/models/vendor-chat": openais, "/v1/budget": openais, "/api/router": recipes,
    "/v1beta/models": googles, "/v1beta/models/vendor-chat": googles,
}  # fmt: skip


def raw_bodies(route: Route) -> dict[str, bytes]:
    """Bodies that no field can be named of."""
    good = route.body()
    named = good.replace(b"hello", b"%s")
    first = b"{" + b'"temperature": %s, ' + good[1:]
    return {
        "empty": b"",
        "not JSON": b"hello",
        "cut off": good[:-3],
        "a list": b"[]",
        "a number": b"7",
        "null": b"null",
        "NaN": first % b"NaN",
        "Infinity": first % b"-Infinity",
        "a number beyond all floats": first % b"1e999",
        "no UTF-8": named % b"\xff\xfe",
        "half a surrogate": named % b"\\ud800",
        "a raw control character": named % b"\x00\x01",
        "without end": b'{"a":' * 100_000,
        "too deep": b'{"metadata": ' + b"[" * 300 + b"]" * 300 + b", " + good[1:],
        "ten megabytes": named % (b"x" * 10_000_000),
    }


RAW = tuple(raw_bodies(ROUTES["chat"]))
FIELD_CASES = [
    pytest.param(name, field, value, id=f"{name}-{field}-{'absent' if value is ABSENT else str(value)[:12]!r}")
    for name, route in ROUTES.items()
    for field, value in route.bad_fields
]
BAD_HEADERS: dict[str, str | bytes] = {
    "x-spendhub-max-cost": "NaN",
    "x-spendhub-max-latency-ms": "-1",
    "x-spendhub-timeout-ms": "1e999",
    "x-spendhub-wait": "inf",
    "x-spendhub-confidence-threshold": "2",
    "x-spendhub-min-quality": "best",
    "x-spendhub-user": "x" * 5_000,
    "x-spendhub-agent": b"\xff\xfe",
    "x-spendhub-task": b"a\tb",
    "x-spendhub-cache": "for ever",
    "x-spendhub-allow": ",",
    "x-spendhub-featur": "search",
    "anthropic-beta": "é".encode(),
    "anthropic-version": b"\xff",
    "openai-beta": "responses=v²".encode(),
}
BAD_DEMANDS: dict[str, Any] = {
    "no object": [],
    "unknown": {"colour": "red"},
    "max_cost": {"max_cost": -1},
    "max_cost huge": {"max_cost": 10**400},
    "max_latency_ms": {"max_latency_ms": 10**400},
    "timeout_ms": {"timeout_ms": "soon"},
    "wait_seconds": {"wait_seconds": True},
    "capabilities": {"capabilities": [7]},
    "allow": {"allow": {"a": 1}},
    "allow nothing": {"allow": []},
    "min_quality": {"min_quality": []},
    "strategy": {"strategy": 7},
}
BAD_KEYS = ["", "Bearer", "Bearer x", "Basic abc", "Bearer sh_" + "\u00e9" * 52, "Bearer " + "x" * 5_000]


@pytest.fixture(scope="module")
def holder(served: Served) -> str:
    """Somebody with a budget, in which one would see what is held."""
    served.define_budget(HOLDER, "100")
    return HOLDER


@pytest.fixture
def untouched(served: Served, holder: str) -> Iterator[None]:
    """Neither a call nor a span has been added, and nothing is held, when the test is over."""
    before = served.vendor.served.calls, served.span_count()
    yield
    assert (served.vendor.served.calls, served.span_count()) == before
    assert served.held(holder) == "0.00"


def post(served: Served, route: Route, content: bytes, **headers: str | bytes) -> httpx.Response:
    sent: dict[str, Any] = {"authorization": f"Bearer {served.key}", "x-spendhub-user": HOLDER, **headers}
    if route.path == "/api/router":
        sent.setdefault("x-spendhub-allow", "vendor-chat")
    return httpx.post(served.server.url + route.path, headers=sent, content=content, timeout=30)


@pytest.mark.parametrize("name", [name for name in ROUTES if name not in NO_MODEL])
def test_each_good_body_is_answered(served: Served, holder: str, name: str) -> None:
    """Negative control: it is the bad part that is refused."""
    answered = post(served, ROUTES[name], ROUTES[name].body())
    assert answered.status_code == 200, answered.text


@pytest.mark.usefixtures("untouched")
def test_the_recipes_router_takes_no_parameters_and_sdks_may_say_what_they_like(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.key}"}
    for method in ("GET", "POST"):
        answered = httpx.request(method, f"{served.server.url}/api/router?foo=1", headers=headers, timeout=30)
        told = answered.json()
        assert (answered.status_code, told["code"], told["issues"][0]["path"]) == (400, "invalid_query", "foo")
    # Azure's clients say `api-version`, Anthropic's `beta`.
    assert httpx.get(f"{served.server.url}/v1/models?api-version=1&beta=true", headers=headers).status_code == 200


@pytest.mark.parametrize("what", RAW)
@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.usefixtures("untouched")
def test_what_is_no_request_at_all_is_refused(served: Served, name: str, what: str) -> None:
    route = ROUTES[name]
    answered = post(served, route, raw_bodies(route)[what])
    route.shape(answered)
    assert answered.status_code == (413 if what == "ten megabytes" else 400)


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.usefixtures("untouched")
def test_a_compressed_body_is_refused_by_the_name_of_its_encoding(served: Served, name: str) -> None:
    route = ROUTES[name]
    answered = post(served, route, gzip.compress(route.body()), **{"content-encoding": "gzip"})
    route.shape(answered)
    # The recipe's router has a 400 for whatever cannot be read.
    assert answered.status_code == (400 if route.shape is recipes else 415)
    assert "content-encoding: gzip" in answered.text
    assert "wrong_content_encoding" in answered.text.lower()


@pytest.mark.parametrize("encoding", ["identity", "", "utf-8"])
def test_a_body_that_is_said_to_be_as_it_is_is_read(served: Served, holder: str, encoding: str) -> None:
    route = ROUTES["chat"]
    assert post(served, route, route.body(), **{"content-encoding": encoding}).status_code == 200


@pytest.mark.parametrize(("name", "field", "value"), FIELD_CASES)
@pytest.mark.usefixtures("untouched")
def test_a_bad_field_is_refused_by_its_name(served: Served, name: str, field: str, value: Any) -> None:
    route = ROUTES[name]
    # The user's own name counts only where no header says another.
    headers = {"x-spendhub-user": ""} if field in ("user", "metadata", "labels") else {}
    found = route.shape(post(served, route, route.body(**{field: value}), **headers))
    # What stands in `metadata` is told by the name of the dimension that it was read as.
    named = {field} if field not in ("metadata", "labels") else {field, "task", "user"}
    assert found is not None and found.split(".")[0].split("[")[0] in named, found


@pytest.mark.parametrize("name", [name for name in ROUTES if name not in ("router", *GOOGLES)])
@pytest.mark.parametrize("model", ["no-such-model", "vendor-chat\x00", "../../etc", "\U0001f4b8"])
@pytest.mark.usefixtures("untouched")
def test_an_unknown_model_is_refused(served: Served, name: str, model: str) -> None:
    route = ROUTES[name]
    answered = post(served, route, route.body(model=model))
    if name == "count_tokens":
        return  # asks no model
    assert (route.shape(answered), answered.status_code) == ("model" if route.shape is openais else None, 404)


@pytest.mark.parametrize("model", ["no-such-model", "vendor-chat%00", "..%2F..%2Fetc", "%F0%9F%92%B8", "%ff", "a%3Fb"])
@pytest.mark.usefixtures("untouched")
def test_an_unknown_model_in_the_address_is_refused(served: Served, model: str) -> None:
    path = f"/v1beta/models/{model}:generateContent"
    answered = post(served, replace(ROUTES["generate"], path=path), ROUTES["generate"].body())
    googles(answered)
    assert answered.status_code == 404


@pytest.mark.parametrize("header", BAD_HEADERS)
@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.is_call])
@pytest.mark.usefixtures("untouched")
def test_a_header_that_cannot_be_is_refused(served: Served, name: str, header: str) -> None:
    route = ROUTES[name]
    if (name, header) == ("router", "x-spendhub-cache"):
        return  # its answers are never kept
    route.shape(post(served, route, route.body(), **{header: BAD_HEADERS[header]}))


@pytest.mark.parametrize("what", BAD_DEMANDS)
@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.is_call and name != "router"])
@pytest.mark.usefixtures("untouched")
def test_a_demand_that_cannot_be_is_refused(served: Served, name: str, what: str) -> None:
    route = ROUTES[name]
    route.shape(post(served, route, route.body(spendhub=BAD_DEMANDS[what])))


PATHS = {route.path: (route.shape, ["POST"]) for route in ROUTES.values()}
PATHS |= {path: (shape, ["GET"]) for path, shape in LOOKS.items()}
PATHS["/api/router"] = (recipes, ["GET", "POST"])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.usefixtures("untouched")
def test_a_wrong_method_is_told_the_right_one(served: Served, path: str, method: str) -> None:
    shape, right = PATHS[path]
    if method in right:
        return
    bearer = {"authorization": f"Bearer {served.key}"}
    answered = httpx.request(method, served.server.url + path, headers=bearer, timeout=30)
    shape(answered)
    assert (answered.status_code, answered.headers["allow"]) == (405, ", ".join(right))


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/nothing", "/v1/chat", "/v1/chat/completions/", "/v1/models/no-such", "/v1/%00", "/v1/models/%00",
     "/v1/models/%ff", "/v1/responses/resp_1", "/v1/budget/x"],
)  # fmt: skip
@pytest.mark.usefixtures("untouched")
def test_an_unknown_path_is_a_404(served: Served, path: str) -> None:
    answered = httpx.get(served.server.url + path, headers={"authorization": f"Bearer {served.key}"}, timeout=30)
    openais(answered)
    assert answered.status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/v1beta", "/v1beta/", "/upload/v1beta/files", "/upload/v1/files", "/v1beta/nothing", "/v1beta/models/", "/v1beta/models/no-such", "/v1beta/models/m:explode",
     "/v1beta/models:generateContent", "/v1beta/tunedModels/m:generateContent", "/v1beta/models/%00"],
)  # fmt: skip
@pytest.mark.usefixtures("untouched")
def test_an_unknown_path_of_googles_is_a_404_in_its_shape(served: Served, path: str) -> None:
    answered = httpx.get(served.server.url + path, headers={"x-goog-api-key": served.key}, timeout=30)
    googles(answered)
    assert answered.status_code == 404


@pytest.mark.parametrize(
    "path", ["/v1beta/models/vendor-chat:predict", "/v1/models/vendor-chat:predict", "/v1beta/models/m:x:explode"]
)
def test_a_method_that_googles_models_do_not_have_is_a_404_in_its_shape(served: Served, path: str) -> None:
    answered = httpx.post(served.server.url + path, headers={"x-goog-api-key": served.key}, json={}, timeout=30)
    googles(answered)
    assert answered.status_code == 404
    facts = answered.json()["error"]["details"][1]
    assert facts["code"] == "no_such_route"
    assert "generateContent" in answered.json()["error"]["message"]


def test_an_unknown_path_below_messages_is_a_404_in_anthropics_shape(served: Served) -> None:
    answered = httpx.post(f"{served.url}/messages/batches", headers={"x-api-key": served.key}, json={}, timeout=30)
    anthropics(answered)
    assert answered.status_code == 404


@pytest.mark.parametrize("query", ["model=%00", "model=%ff", "model=" + "x" * 5_000, "colour=red", "&&=&", "model"])
def test_a_look_at_the_budget_takes_any_query(served: Served, query: str) -> None:
    answered = httpx.get(f"{served.url}/budget?{query}", headers={"authorization": f"Bearer {served.key}"}, timeout=30)
    assert answered.status_code in (200, 400, 404), answered.text


def test_a_look_at_the_budget_is_not_told_for_whom_by_a_header_nobody_knows(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-usr": "ada"}
    answered = httpx.get(f"{served.url}/budget", headers=headers, timeout=30)
    told = answered.json()["error"]
    assert (answered.status_code, told["code"], told["param"]) == (400, "invalid_demand", "x-spendhub-usr")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", BAD_KEYS)
@pytest.mark.usefixtures("untouched")
def test_no_good_key_is_a_401(served: Served, path: str, key: str) -> None:
    shape, methods = PATHS[path]
    route = next((route for route in ROUTES.values() if route.path == path), None)
    for method in methods:
        content = route.body() if method == "POST" and route is not None else b""
        answered = httpx.request(
            method, served.server.url + path, headers={"authorization": key.encode()}, content=content
        )
        shape(answered)
        # Many wrong keys from one address are told to slow down.
        assert answered.status_code in (401, 429)


MODELS = st.sampled_from(["vendor-chat", "vendor-out", "vendor-off", "unplugged", "no-such-model"])
ROUTER_NAMES = ["maxTokens", "requiredCapabilities", "budgetId", "strategy", "userTier", "timeoutMs", "metadata",
                "confidenceThreshold", "prompt", "colour"]  # fmt: skip


LIKE = {"count_tokens": "messages", "stream_generate": "generate", "count_googles": "generate"}


def drawn_body(data: st.DataObject, name: str) -> dict[str, Any]:
    """A good body with generated parts."""
    body: dict[str, Any] = {**ROUTES[name].good}
    fields = ROUTER_NAMES if name == "router" else FIELDS[LIKE.get(name, name)]
    names, values = (GOOGLES_NAMES, GOOGLES_VALUES) if name in GOOGLES else (NAMES, VALUES)
    body |= data.draw(st.dictionaries(st.sampled_from([*fields, "stream", "spendhub"]), values, max_size=3))
    if name == "router":
        return body
    if data.draw(st.booleans()):
        body["model"] = data.draw(MODELS)
    if data.draw(st.booleans()):
        turns = st.lists(st.dictionaries(names, values, max_size=6), min_size=1, max_size=4)
        holder = next((each for each in ("messages", "contents", "content", "requests") if each in body), "input")
        body[holder] = data.draw(turns)
    return body


@pytest.mark.parametrize("name", ROUTES)
@settings(max_examples=35, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_breaks_us(served: Served, keep_alive: httpx.Client, name: str, data: st.DataObject) -> None:
    body = drawn_body(data, name)
    answered = keep_alive.post(ROUTES[name].path, json=body)
    code = ""
    if answered.status_code == 503:
        told = answered.json()
        code = told["code"] if name == "router" else told["error"]["code"]
        code = told["error"]["details"][1]["code"] if name in GOOGLES else code
    honest = ["no_model_fits", "credential_missing"]
    if "timeoutMs" in body:
        honest.append("upstream_timeout")  # a millisecond may be asked for
    is_ours = answered.status_code >= 500 and code not in honest
    assert not is_ours, (answered.status_code, answered.text[:500], json.dumps(body))


@pytest.fixture(scope="module")
def keep_alive(served: Served) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-allow": "vendor-chat,vendor-out,unplugged"}
    with httpx.Client(base_url=served.server.url, headers=headers, timeout=30) as client:
        yield client
