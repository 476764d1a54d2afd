"""Which models a request is sent to, read from its own words and from what the account's calls have taught."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from budgets.counters.drive import drive
from budgets.models import Budget
from routing import hooks
from routing.performance import forget_observed
from routing.plans import Plan
from routing.snapshot import CATALOG
from routing.strategies.base import Ranking, Strategy, Task, in_order
from routing.strategies.registry import STRATEGIES
from routing.token_usage import TokenUsage
from routing.wanted import Declared
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.calls import plan_call
from spendhub.gateway.declared import NO_DEMANDS, Demands
from spendhub.gateway.dialect import ClientDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from spendhub.money import NANO_PER_USD
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.snapshot import ACCESS, Principal
from telemetry.drafts import SpanDraft
from telemetry.expected_outputs import set_learned
from telemetry.observing import observe
from telemetry.recording import record
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
CHAT_AT = Attribution(feature="chat")


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    yield
    set_learned({})
    forget_observed()


@pytest.fixture
def acme() -> Principal:
    key = factories.ApiKeyFactory(tenant=factories.acme())
    refresh_all()
    return ACCESS.current().identify(key.secret, key.created_at)


def define_model(name: str, input_usd: float, output_usd: float, **price: Any) -> None:
    """A model that can be called, at these prices per million tokens."""
    provider = factories.ProviderFactory(dialect="openai", base_url="http://127.0.0.1:1/v1")
    model = factories.ModelFactory(name=name, provider=provider, capabilities=["tools"])
    rates = {"input_nano_usd_per_mtok": input_usd, "output_nano_usd_per_mtok": output_usd, **price}
    factories.PriceFactory(model=model, **{column: round(usd * NANO_PER_USD) for column, usd in rates.items()})
    CATALOG.refresh()


def plan(
    principal: Principal, dialect: ClientDialect = CHAT_DIALECT, *, demands: Demands = NO_DEMANDS, **body: Any
) -> Plan:
    """The plan for one request of `auto`."""
    words = "input" if dialect is RESPONSES_DIALECT else "messages"
    said = {"model": "auto", words: [{"role": "user", "content": "hello"}], **body}
    if dialect is MESSAGES_DIALECT:
        said["max_tokens"] = 100
    request = dialect.parse(msgspec.json.encode(said))
    return asyncio.run(plan_call(principal, request, dialect, CHAT_AT, demands, 1_000))


def names(found: Plan) -> list[str]:
    return [candidate.model.name for candidate in found.candidates]


def test_calls_of_a_dear_model_by_name_do_not_make_auto_choose_it(acme: Principal) -> None:
    define_model("cheap", 0.05, 0.4)
    define_model("dear", 2.5, 10)
    now = datetime.now(UTC)
    drafts = [
        SpanDraft(
            request_id=f"r-{number}", cost_nano_usd=1, model="dear", attribution=CHAT_AT, source="gateway",
            duration_ms=100, status="ok", occurred_at=now, usage=TokenUsage(output_tokens=10),
        )
        for number in range(24)
    ]  # fmt: skip
    drive(record(acme.tenant_id, drafts, now))
    observe(now)
    found = plan(acme)
    assert names(found) == ["cheap", "dear"]
    # 1000 x 0.05 + 10 x 0.4 USD per million.
    assert found.facts["estimate_nano_usd"] == 54_000


@pytest.mark.parametrize(
    ("dialect", "asked"),
    [
        (CHAT_DIALECT, {"web_search_options": {}}),
        (RESPONSES_DIALECT, {"tools": [{"type": "web_search"}]}),
        (MESSAGES_DIALECT, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ],
)
def test_a_request_to_search_the_web_is_not_sent_where_searches_have_no_price(
    acme: Principal, dialect: ClientDialect, asked: dict[str, Any]
) -> None:
    define_model("cheap", 0, 0)
    define_model("searches", 1, 2, web_search_nano_usd_per_thousand=10)
    assert names(plan(acme, dialect)) == ["cheap", "searches"]
    assert names(plan(acme, dialect, **asked)) == ["searches"]


class HowMuchIsLeft(Strategy):
    """Ranks as it comes, and says what it was told is left."""

    name, summary, weighs_budgets = "how-much-is-left", "For this test.", True

    def settings(self, given: Any, models: Any) -> None:
        return None

    def rank(self, options: Any, task: Task, settings: Any) -> Ranking:
        return Ranking(in_order(options, lambda option: 0.0), f"{task.wanted.share_left()} is left", "nothing")


@pytest.fixture
def one_twentieth_left(acme: Principal) -> None:
    """Of a budget of 1 USD."""
    Budget.objects.create(
        tenant_id=acme.tenant_id, name="Chat", scope_type="feature", scope_key="chat", limit_nano_usd=NANO_PER_USD
    )
    refresh_all()
    now = datetime.now(UTC)
    spent = SpanDraft(
        request_id="r-1", cost_nano_usd=NANO_PER_USD * 19 // 20, model="cheap", attribution=CHAT_AT, source="gateway",
        duration_ms=100, status="ok", occurred_at=now,
    )  # fmt: skip
    drive(record(acme.tenant_id, [spent], now))


@pytest.mark.usefixtures("one_twentieth_left")
def test_a_hook_that_chooses_by_budget_and_a_strategy_of_ones_own_are_told_what_is_left(
    acme: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_model("cheap", 0.05, 0.4)
    define_model("dear", 2.5, 10)

    def strategy(name: str) -> Any:
        return lambda wanted: replace(wanted, declared=replace(wanted.declared, strategy=name))

    monkeypatch.setattr(hooks, "BEFORE_ROUTING", [strategy("budget-aware")])
    assert plan(acme).facts["budget_share_left"] == 0.05
    monkeypatch.setattr(hooks, "BEFORE_ROUTING", [])
    monkeypatch.setitem(STRATEGIES, HowMuchIsLeft.name, HowMuchIsLeft())
    demands = Demands(Declared(strategy=HowMuchIsLeft.name))
    assert plan(acme, demands=demands).reason == "0.05 is left"
