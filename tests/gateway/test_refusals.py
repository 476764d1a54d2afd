"""What a call meets when a budget says no, or nearly: exact, in OpenAI's shape, and before the vendor is asked."""

from __future__ import annotations

from datetime import datetime

import openai
import pytest

from tests.gateway.served import OUTPUT_NANO_USD, Served, on_a_long_day, pause_for_snapshots

pytestmark = pytest.mark.slow

ASK = [{"role": "user", "content": "[out:10]"}]
# `vendor-out` has free input: ten tokens cost exactly what is held for them.
TEN_TOKENS_NANO_USD = 10 * OUTPUT_NANO_USD
TEN_TOKENS_USD = "0.0001"


def test_the_sdk_raises_a_status_error_with_the_budget_what_remains_and_when_it_ends(served: Served, user: str) -> None:
    own, ends_at = on_a_long_day(served)
    own.define_budget(user, "0.00015", period="day")
    sdk = own.sdk()
    sdk.chat.completions.create(model="vendor-out", messages=ASK, max_tokens=10, user=user)
    calls = served.vendor.served.calls
    with pytest.raises(openai.APIStatusError) as refused:
        sdk.chat.completions.create(model="vendor-out", messages=ASK, max_tokens=10, user=user)
    error = refused.value
    assert error.status_code == 402
    assert error.code == "budget_exceeded"
    assert f"{user} per day" in error.message
    told = error.body
    assert isinstance(told, dict)
    assert (told["budget"], told["remaining"], told["requested"]) == (f"{user} per day", "0.00005", TEN_TOKENS_USD)
    assert datetime.fromisoformat(told["resets_at"]) == ends_at
    assert 0 < int(error.response.headers["retry-after"]) <= 86_401
    assert error.response.headers["x-spendhub-decision"] == "hard-stop"
    assert error.response.headers["x-spendhub-remaining"] == "0.00005"
    # The vendor was not asked, and nothing was booked or left held.
    assert served.vendor.served.calls == calls
    assert [span["cost_nano_usd"] for span in own.spans(user)] == [TEN_TOKENS_NANO_USD]
    assert own.held(user) == "0.00"


def test_a_refusal_is_explained_by_its_decision(served: Served, user: str) -> None:
    served.define_budget(user, "0")
    answered = served.ask(user=user)
    assert answered.status_code == 402
    decision = served.native("GET", f"decisions/{answered.headers['x-spendhub-decision-id']}")
    assert decision["allowed"] is False


def test_a_refused_stream_is_an_error_and_no_stream(served: Served, user: str) -> None:
    served.define_budget(user, "0")
    answered = served.ask(user=user, stream=True)
    assert answered.status_code == 402
    assert answered.headers["content-type"] == "application/json"
    assert answered.json()["error"]["type"] == "insufficient_quota"


def test_a_refusal_names_a_model_that_would_still_fit(served: Served, user: str) -> None:
    served.define_budget(user, "0.001", downgrade_rules=[{"from": ["vendor-chat"], "to": "sandbox-small"}])
    answered = served.ask(user=user, max_tokens=1000)
    assert answered.json()["error"]["suggested_model"] == "sandbox-small"
    assert answered.headers["x-budget-suggested-model"] == "sandbox-small"
    assert served.ask(model="sandbox-small", user=user, max_tokens=100).status_code == 200


def test_above_the_soft_cap_the_cheaper_model_and_the_disabled_tools_are_told(served: Served, user: str) -> None:
    served.define_budget(
        user,
        "0.001",
        soft_cap="0.01",
        disabled_tools=["browse"],
        downgrade_rules=[{"from": ["vendor-out"], "to": "sandbox-small"}],
    )
    answered = served.ask("[out:10]", model="vendor-out", max_tokens=10, user=user)
    assert answered.status_code == 200
    assert answered.headers["x-spendhub-decision"] == "degrade"
    assert answered.headers["x-spendhub-suggested-model"] == "sandbox-small"
    assert answered.headers["x-spendhub-disabled-tools"] == "browse"
    assert user in answered.headers["x-spendhub-warning"]


def test_the_recipes_headers_tell_the_budget_in_its_own_words(served: Served, user: str) -> None:
    served.define_budget(user, "0.001")
    served.ask("[out:10]", model="vendor-out", max_tokens=10, user=user)
    headers = served.ask("[out:10]", model="vendor-out", max_tokens=10, user=user).headers
    assert headers["x-budget-limit"] == "0.001"
    assert headers["x-budget-spent"] == "0.0002"
    assert headers["x-budget-remaining"] == "0.0008"
    assert headers["x-budget-status"] == "allow"
    assert headers["x-spendhub-remaining"] == "0.0008"


def test_an_observed_budget_stops_nothing(served: Served, user: str) -> None:
    served.define_budget(user, "0", mode="observe")
    answered = served.ask(user=user)
    assert answered.status_code == 200
    assert "x-spendhub-remaining" not in answered.headers


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("no-such-model", 404, "model_not_found"),
        ("vendor-off", 404, "model_not_found"),
        ("text-embedding-3-small", 404, "model_not_found"),
        ("vendor-free", 400, "unpriced_model"),
        ("unplugged", 503, "credential_missing"),
    ],
)
def test_a_model_that_cannot_be_called_is_refused_before_anything_is_held(
    served: Served, user: str, model: str, status: int, code: str
) -> None:
    answered = served.ask(model=model, user=user)
    assert (answered.status_code, answered.json()["error"]["code"]) == (status, code)
    assert served.spans(user) == []


def test_no_key_a_wrong_key_and_a_revoked_key_are_told_as_openai_would(served: Served) -> None:
    made = served.native("POST", "keys", json={"name": "short-lived", "permissions": ["spend"]})
    pause_for_snapshots()
    assert served.ask(headers={"authorization": f"Bearer {made['key']}"}).status_code == 200
    served.native("DELETE", f"keys/{made['id']}")
    pause_for_snapshots()
    for authorization in ("", f"Bearer {made['key']}", "Bearer sh_00000000_" + "x" * 43):
        with pytest.raises(openai.AuthenticationError) as refused:
            served.sdk(default_headers={"authorization": authorization}).models.list()
        assert refused.value.code == "invalid_api_key"


def test_a_key_without_the_permission_to_spend_is_refused(served: Served) -> None:
    made = served.native("POST", "keys", json={"name": "reader", "permissions": ["read"]})
    pause_for_snapshots()
    with pytest.raises(openai.PermissionDeniedError) as refused:
        served.sdk(default_headers={"authorization": f"Bearer {made['key']}"}).chat.completions.create(
            model="vendor-chat", messages=[{"role": "user", "content": "hello"}]
        )
    assert (refused.value.code, refused.value.body["needed"]) == ("missing_permission", "spend")
