"""Whatever is sent to a model whose vendor is spoken to in other words: never a 500, and errors in the route's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.dialects.test_bad_input import ODD_VALUES, READ_BY_NOBODY, RICH, changed, places
from tests.gateway.error_shapes import Shape, anthropics, googles, openais
from tests.gateway.sdks.vendors import OWN_MODELS, Vendors, post

pytestmark = [pytest.mark.slow, pytest.mark.once]

HOLDER = "ada-of-bad-input"
MODELS = ("gpt", "gpt-pro", "claude", "gemini", "bedrock-claude")
UNTOUCHED = {*OWN_MODELS.items(), ("responses", "gpt-pro")}
SHAPES: dict[str, Shape] = {"chat": openais, "responses": openais, "messages": anthropics, "generate": googles}
NO_ADDRESS, HALF, *_ = READ_BY_NOBODY
NO_TEXT = "data:text/plain;base64,\u00e9"
PICTURE = {"type": "image", "source": {"type": "url", "url": NO_ADDRESS}}
# By route, where in RICH something stands that only a vendor's request makes something of.
CHOSEN: dict[str, tuple[tuple[tuple[Any, ...], Any], ...]] = {
    "chat": (
        (("messages", 1, "content", 1, "image_url", "url"), NO_ADDRESS),
        (("messages", 1, "content", 2, "file", "file_data"), NO_TEXT),
        *((("messages", 2, "tool_calls", 0, "function", "arguments"), each) for each in READ_BY_NOBODY[2:]),
        (("messages", 4, "function_call", "arguments"), HALF),
    ),
    "responses": (
        (("input", 0, "content", 1, "image_url"), NO_ADDRESS),
        (("input", 0, "content", 2), {"type": "input_file", "file_url": NO_ADDRESS}),
        (("input", 0, "content", 2, "file_data"), NO_TEXT),
        *((("input", 2, "arguments"), each) for each in READ_BY_NOBODY[2:]),
        (("input", 2, "call_id"), []),
        (("input", 3, "output"), [{"type": "input_image", "image_url": NO_ADDRESS}]),
    ),
    "messages": (
        (("messages", 0, "content", 1), PICTURE),
        (("messages", 0, "content", 2, "source"), PICTURE["source"]),
        (("messages", 2, "content", 0, "content", 0), PICTURE),
    ),
    "generate": (
        (("contents", 0, "parts", 1), {"fileData": {"mimeType": "image/png", "fileUri": NO_ADDRESS}}),
        (("contents", 0, "parts", 1), {"fileData": {"fileUri": NO_ADDRESS}}),
    ),
}


@pytest.fixture(scope="module")
def holder(vendors: Vendors) -> str:
    """Somebody with a budget, in which one would see what is held."""
    vendors.served.define_budget(HOLDER, "100")
    return HOLDER


def check(vendors: Vendors, route: str, model: str, body: bytes, *, is_stream: bool) -> int:
    """The status of the answer, which is no fault of ours."""
    answered = post(vendors, route, model, json.loads(body), user=HOLDER, is_stream=is_stream)
    assert answered.status_code < 500, (answered.status_code, answered.text[:500], body[:2_000])
    # A vendor's own error goes to its own clients as it came.
    if answered.status_code >= 400 and (route, model) not in UNTOUCHED:
        SHAPES[route](answered)
    return answered.status_code


@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("route", OWN_MODELS)
def test_what_only_the_vendors_request_makes_something_of_is_no_fault_of_ours(
    vendors: Vendors, route: str, model: str, is_stream: bool
) -> None:
    good = json.dumps(RICH[route]).encode()
    assert check(vendors, route, model, good, is_stream=is_stream) == 200
    for place, value in CHOSEN[route]:
        check(vendors, route, model, changed(RICH[route], place, value), is_stream=is_stream)
    assert vendors.served.held(HOLDER, model) == "0.00"


@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize("route", OWN_MODELS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_wherever_is_no_fault_of_ours(vendors: Vendors, route: str, data: st.DataObject) -> None:
    place, value = data.draw(st.sampled_from([*places(RICH[route])])), data.draw(st.sampled_from(ODD_VALUES))
    model, is_stream = data.draw(st.sampled_from(MODELS)), data.draw(st.booleans())
    check(vendors, route, model, changed(RICH[route], place, value), is_stream=is_stream)
