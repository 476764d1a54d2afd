"""Whatever is sent to /v1: a 4xx in OpenAI's shape, and neither the vendor nor the books have heard of it."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.gateway.served import Served

pytestmark = pytest.mark.slow

CHAT = "/chat/completions"
MESSAGES = [{"role": "user", "content": "hello"}]


def chat(**changes: object) -> bytes:
    """A good request with bad parts."""
    body = {"model": "vendor-chat", "messages": MESSAGES, **changes}
    return json.dumps({name: value for name, value in body.items() if value != "absent"}).encode()


BAD_BODIES = {
    "empty": b"",
    "not JSON": b"hello",
    "cut off": b'{"model": "vendor-chat", "messages": [',
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "NaN": chat().replace(b'"vendor-chat"', b'"vendor-chat", "temperature": NaN'),
    "Infinity": chat().replace(b'"vendor-chat"', b'"vendor-chat", "max_tokens": Infinity'),
    "a number beyond all floats": chat().replace(b'"vendor-chat"', b'"vendor-chat", "top_p": 1e999'),
    "no UTF-8": chat().replace(b"hello", b"\xff\xfe"),
    "half a surrogate": chat().replace(b"hello", b"\\ud800"),
    "a raw control character": chat().replace(b"hello", b"\x00\x01"),
    "without end": b'{"a":' * 100_000,
    "ten megabytes": b'{"model": "vendor-chat", "messages": [{"role": "user", "content": "'
    + b"x" * 10_000_000
    + b'"}]}',
    "no model": chat(model="absent"),
    "model null": chat(model=None),
    "model a number": chat(model=7),
    "model empty": chat(model=" "),
    "model too long": chat(model="x" * 100_000),
    "model with NUL": chat(model="vendor-chat\x00"),
    "no messages": chat(messages="absent"),
    "messages empty": chat(messages=[]),
    "messages a text": chat(messages="hello"),
    "messages of texts": chat(messages=["hello"]),
    "max_tokens 0": chat(max_tokens=0),
    "max_tokens negative": chat(max_tokens=-5),
    "max_tokens huge": chat(max_tokens=10**30),
    "max_tokens a text": chat(max_tokens="10"),
    "max_tokens true": chat(max_tokens=True),
    "max_completion_tokens a float": chat(max_completion_tokens=1.5),
    "n 0": chat(n=0),
    "n huge": chat(n=10**9),
    "stream a text": chat(stream="yes"),
    "stream_options a list": chat(stream=True, stream_options=[]),
    "tools an object": chat(tools={}),
    "tools of texts": chat(tools=["browse"]),
    "user a number": chat(user=7),
    "user with control characters": chat(user="ada\x00\n"),
    "user too long": chat(user="x" * 10_000),
    "metadata a text": chat(metadata="feature"),
    "metadata with a number for a dimension": chat(metadata={"task": 7}),
}


def must_be_openais(answered: httpx.Response) -> None:
    """A 4xx with an error object as OpenAI writes it."""
    assert 400 <= answered.status_code < 500, answered.text[:300]
    assert answered.headers["content-type"] == "application/json"
    error = answered.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert error["message"] and error["type"] and error["code"]


@pytest.fixture
def untouched(served: Served):
    """Neither a call nor a span has been added when the test is over."""
    before = served.vendor.served.calls, served.span_count()
    yield
    assert (served.vendor.served.calls, served.span_count()) == before


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.usefixtures("untouched")
def test_a_bad_body_is_refused(served: Served, name: str) -> None:
    bearer = {"authorization": f"Bearer {served.key}"}
    must_be_openais(httpx.post(served.url + CHAT, headers=bearer, content=BAD_BODIES[name], timeout=30))


@pytest.mark.parametrize("path", [CHAT, "/models", "/models/vendor-chat"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.usefixtures("untouched")
def test_a_wrong_method_is_told_the_right_one(served: Served, path: str, method: str) -> None:
    right = "POST" if path == CHAT else "GET"
    if method == right:
        return
    bearer = {"authorization": f"Bearer {served.key}"}
    answered = httpx.request(method, served.url + path, headers=bearer)
    must_be_openais(answered)
    assert (answered.status_code, answered.headers["allow"]) == (405, right)


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/chat", "/chat/completions/", "/models/no-such", "/%00", "/models/%00"]
)
@pytest.mark.usefixtures("untouched")
def test_an_unknown_path_is_a_404_in_openais_shape(served: Served, path: str) -> None:
    answered = httpx.get(served.url + path, headers={"authorization": f"Bearer {served.key}"})
    must_be_openais(answered)
    assert answered.status_code == 404


@pytest.mark.parametrize("path", [CHAT, "/models", "/models/vendor-chat"])
@pytest.mark.parametrize(
    "key", ["", "Bearer", "Bearer x", "Basic abc", "Bearer sh_" + "\u00e9" * 52, "Bearer " + "x" * 5_000]
)
@pytest.mark.usefixtures("untouched")
def test_no_good_key_is_a_401(served: Served, path: str, key: str) -> None:
    method = "POST" if path == CHAT else "GET"
    content = chat() if method == "POST" else b""
    answered = httpx.request(method, served.url + path, headers={"authorization": key.encode()}, content=content)
    must_be_openais(answered)
    # Many wrong keys from one address are told to slow down.
    assert answered.status_code in (401, 429)
