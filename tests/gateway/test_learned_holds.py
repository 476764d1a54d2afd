"""What is held for a call without a limit of its own follows how long such answers have been."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.holding import Need, need_of
from telemetry.expected_outputs import LEAST_CALLS, set_learned
from tests.gateway.conftest import running_spendhub
from tests.gateway.served import OUTPUT_NANO_USD
from tests.routing.facts import model_facts
from tests.servers import wait_until

ACME, GLOBEX = 1, 2
# Of a model that nothing is known of: SPENDHUB_DEFAULT_OUTPUT_TOKENS.
PRIOR = 1_024


@pytest.fixture(autouse=True)
def learned() -> Iterator[None]:
    """Answers of `m` at acme: 40 tokens where it chats, 900 all in all."""
    set_learned({(ACME, "chat"): {"m": 40}, (ACME, ""): {"m": 900, "other": 7}})
    yield
    set_learned({})


def need(tenant_id: int = ACME, feature: str | None = "chat", *, most: int | None = 4_096, **asked: Any) -> Need:
    request = CallRequest(wire="chat", body={}, model="m", **asked)
    return need_of(request, model_facts("m", max_output_tokens=most), 10, tenant_id, feature)


@pytest.mark.parametrize(
    ("tenant_id", "feature", "held"),
    [(ACME, "chat", 40), (ACME, "search", 900), (ACME, None, 900), (GLOBEX, "chat", PRIOR), (GLOBEX, None, PRIOR)],
)
def test_what_is_held_is_what_such_answers_were_of_the_feature_else_of_the_account_else_the_prior(
    tenant_id: int, feature: str | None, held: int
) -> None:
    assert need(tenant_id, feature) == Need(10, held, 4_096, False)


def test_several_answers_are_held_for_as_many_times() -> None:
    assert need(choices=3) == Need(10, 3 * 40, 3 * 4_096, False)
    assert need(GLOBEX, choices=3) == Need(10, 3 * PRIOR, 3 * 4_096, False)


def test_no_more_is_held_than_the_model_can_say() -> None:
    assert need(feature="search", most=512) == Need(10, 512, 512, False)
    assert need(feature="search", most=512, choices=2) == Need(10, 2 * 512, 2 * 512, False)
    assert need(feature="search", most=None).output_tokens == 900


def test_the_clients_own_limit_is_held_whatever_answers_were() -> None:
    assert need(max_output_tokens=100) == Need(10, 100, 100, True)
    assert need(max_output_tokens=9_000) == Need(10, 4_096, 4_096, True)


@pytest.mark.slow
def test_what_a_running_server_holds_falls_to_what_it_has_learned(user: str) -> None:
    with running_spendhub(valkey_number=5, SPENDHUB_LEARN_OUTPUTS="true") as served:

        def reserved(feature: str, words: int) -> int:
            """What was held for one more call of the feature, in output tokens."""
            asked = f"{user}-{feature}"
            headers = {"x-spendhub-feature": feature}
            answered = served.ask(f"[out:{words}]", model="vendor-out", user=asked, headers=headers)
            assert answered.status_code == 200, answered.text
            nano_usd: int = served.spans(asked)[-1]["reserved_nano_usd"]
            return nano_usd // OUTPUT_NANO_USD

        def expected(feature: str) -> str:
            wanted = {"model": "vendor-out", "prompt": "hello", "attribution": {"feature": feature}}
            cost: str = served.native("POST", "routes/dry-run", json=wanted)["candidates"][0]["estimated_cost"]
            return cost

        assert [reserved("chat", 40) for _ in range(LEAST_CALLS)] == [PRIOR] * LEAST_CALLS
        assert [reserved("essays", 900) for _ in range(LEAST_CALLS)][-1] in (PRIOR, 40)
        # Learned in the background, each quarter of a minute. 40 tokens at 10 USD per million; 900.
        wait_until(lambda: (expected("chat"), expected("essays")) == ("0.0004", "0.009"), 60, "it to be learned")
        assert reserved("chat", 40) == 40
        assert reserved("essays", 900) == 900
        assert reserved("never-seen", 1) == 900  # of all features: half of the answers are as long
