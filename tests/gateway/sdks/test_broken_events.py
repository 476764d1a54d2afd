"""What a vendor writes that is no JSON, or half a character: as it came to its own clients, and harmless to all others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.vendor import HALF
from tests.gateway.sdks.vendors import CALL, CALL_NANO_USD, OWN_MODELS, Vendors, post

pytestmark = [pytest.mark.slow, pytest.mark.once]

MODELS = ("gpt", "claude", "gemini", "bedrock-claude")
PAIRS = pytest.mark.parametrize(("route", "model"), [(route, model) for route in OWN_MODELS for model in MODELS])
NO_JSON, HALF_AS_IT_CAME, NO_CHARACTER = "data: {not json\n", "\\ud83d", "\ufffd"


def says(route: str, words: str) -> dict[str, Any]:
    """A body of the route that says these words."""
    if route == "generate":
        return {"contents": [{"role": "user", "parts": [{"text": words}]}]}
    if route == "responses":
        return {"input": words}
    return {"messages": [{"role": "user", "content": words}], "max_tokens": 99}


def answer(vendors: Vendors, route: str, model: str, words: str, *, user: str, is_stream: bool) -> str:
    """What the client is told in its answer, which is whole and booked as its vendor has counted."""
    answered = post(vendors, route, model, says(route, f"{words} {CALL}"), user=user, is_stream=is_stream)
    assert answered.status_code == 200, answered.text
    span = vendors.served.the_span(user)
    assert (span["status"], span["cost_nano_usd"], span["is_estimated"]) == ("ok", CALL_NANO_USD, False)
    return answered.text


@PAIRS
def test_what_is_no_json_between_events_is_handed_on_or_passed_over(
    vendors: Vendors, user: str, route: str, model: str
) -> None:
    told = answer(vendors, route, model, "[fault:malformed-sse] [say:one two]", user=user, is_stream=True)
    assert '"one"' in told and '" two"' in told
    assert (NO_JSON in told) == (OWN_MODELS[route] == model)


@PAIRS
@pytest.mark.parametrize("is_stream", [False, True])
def test_half_a_character_is_handed_on_as_it_came_or_told_as_none(
    vendors: Vendors, user: str, route: str, model: str, is_stream: bool
) -> None:
    told = answer(vendors, route, model, f"[say:cut {HALF}]", user=user, is_stream=is_stream)
    is_own = OWN_MODELS[route] == model
    # The last event of a stream of /v1/responses repeats the answer; it gets our object, and so is written anew.
    is_repeated = (route, is_stream) == ("responses", True)
    assert (HALF_AS_IT_CAME in told, NO_CHARACTER in told) == (is_own, not is_own or is_repeated), told
