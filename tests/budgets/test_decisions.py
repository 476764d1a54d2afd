"""May this call be made? The rule as docs/budgets.md states it, and what holds for any budgets and any call."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.calls import Call
from budgets.counters.base import Count
from budgets.decisions import STRICTNESS, Decision, LookedAt, decide, state_of
from budgets.errors import BudgetExceeded
from budgets.reports import LiveWindow
from budgets.snapshot import BudgetFacts
from budgets.suggestions import downgrade_chain, model_is_known
from spendhub.ids import new_id
from spendhub.money import format_usd, parse_usd
from spendhub.snapshots import refresh_all
from tests import factories
from tests.budgets.facts import at, budget, call, decision, known_models, matched
from tests.routing.facts import model_facts

NANO = 10**9
PAGE = Path(__file__).parents[2] / "docs" / "budgets.md"


def table(name: str) -> list[list[str]]:
    """The rows of the table below the marker `name`."""
    lines = PAGE.read_text(encoding="utf-8").split(f"<!-- table: {name} -->\n", 1)[1].split("\n\n", 1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words(cell: str) -> list[str]:
    return [] if cell == "-" else cell.split()


@pytest.mark.parametrize("row", table("decisions"), ids=" ".join)
def test_the_decision_table_is_true(row: list[str]) -> None:
    limit, soft, hard, spent, held, estimate, model, tools, rules, disabled, action, suggested, remaining, reason = row
    steps = [(rule.split(">")[0].split(","), rule.split(">")[1]) for rule in words(rules)]
    of = budget("user:ada", limit, soft=soft, hard=hard, rules=steps, tools=words(disabled))
    told = decision(call(estimate, model=model, tools=tuple(words(tools))), (of, spent, held))
    assert (told.action, told.allowed, told.reason) == (action, action != "hard-stop", reason)
    assert (told.suggested_model or "-", format_usd(told.remaining_nano_usd or 0)) == (suggested, remaining)
    assert told.disabled_tools == (() if action == "allow" else tuple(words(disabled)))


# A budget that alone gives each answer to a call of 1 USD with the tool "web".
ALONE = {
    "allow": (budget("user:ada", "10"), "0", "0"),
    "warn": (budget("user:ada", "10"), "8", "0"),
    "disable-tools": (budget("user:ada", "10", tools=["web"]), "8", "0"),
    "degrade": (budget("user:ada", "10", rules=[(["*"], "haiku")]), "8", "0"),
    "hard-stop": (budget("user:ada", "10"), "9.5", "0"),
}


@pytest.mark.parametrize("row", table("together"), ids=" -> ".join)
def test_the_strictest_answer_wins(row: list[str]) -> None:
    stands = []
    for name in row[0].split(", ") if row[0] != "-" else []:
        of, spent, held = ALONE[name.removeprefix("observed ")]
        stands.append((replace(of, is_enforced=not name.startswith("observed")), spent, held))
    asked = call("1", tools=("web",))
    for ordered in (stands, stands[::-1]):
        told = decision(asked, *ordered)
        assert (told.action, told.allowed) == (row[1], row[1] != "hard-stop")


@pytest.mark.parametrize("row", table("overspent"), ids=" ".join)
def test_what_is_spent_beyond_the_hard_cap_is_told_from_what_is_used_up(row: list[str]) -> None:
    limit, hard, spent, held, remaining, overspent = row
    of = budget("user:ada", limit, hard=hard)
    (looked_at,) = decision(call("0.01"), (of, spent, held)).looked_at
    live = LiveWindow(looked_at.matched, parse_usd(spent), parse_usd(held), looked_at.state)
    for each in (looked_at, live):
        assert (format_usd(each.remaining_nano_usd), format_usd(each.overspent_nano_usd)) == (remaining, overspent)


@pytest.mark.parametrize("row", table("states"), ids=" ".join)
def test_the_state_table_is_true(row: list[str]) -> None:
    limit, soft, hard, degrades, spent, state = row
    of = budget("user:ada", limit, soft=soft, hard=hard)
    assert (
        state_of(
            parse_usd(spent), of.soft_at(at("2026-11-24")), of.hard_at(at("2026-11-24")), degrades=degrades == "yes"
        )
        == state
    )


def test_a_refusal_names_the_budget_with_the_least_room_and_when_it_begins_afresh() -> None:
    month, day = budget("user:ada", "10"), budget("tenant", "10", period="day")
    told = decision(call("3"), (month, "8", "0"), (day, "9", "0"))
    assert told.bound is not None and told.bound.matched.budget is day
    assert (told.remaining_nano_usd, told.resets_at) == (NANO, at("2026-11-25 00:00"))


def test_a_total_budget_never_begins_afresh() -> None:
    told = decision(call("3"), (budget("user:ada", "1", period="total"), "0", "0"))
    assert (told.allowed, told.resets_at) == (False, None)


def test_a_frozen_budget_stops_even_a_free_call_and_suggests_nothing() -> None:
    told = decision(call("0"), (budget("user:ada", is_frozen=True, rules=[(["*"], "haiku")]), "0", "0"))
    assert (told.action, told.reason, told.suggested_model) == ("hard-stop", "frozen", None)


def test_a_frozen_budget_is_not_said_to_begin_afresh() -> None:
    frozen, hourly = budget("user:ada", "100", is_frozen=True), budget("tenant", "1", period="hour")
    told = decision(call("1"), (frozen, "0", "0"))
    assert (told.reason, told.resets_at, BudgetExceeded(told).retry_after_seconds) == ("frozen", None, None)
    # Nor is another one named, although it has less room: after its next window the call would be stopped all the same.
    for stands in (((frozen, "0", "0"), (hourly, "1", "0")), ((hourly, "1", "0"), (frozen, "0", "0"))):
        told = decision(call("1"), *stands)
        assert told.bound is not None and told.bound.matched.budget is frozen
        assert (told.reason, told.resets_at) == ("frozen", None)


def test_a_frozen_budget_that_only_observes_stops_nothing() -> None:
    told = decision(call("1"), (budget("user:ada", is_frozen=True, is_enforced=False), "0", "0"))
    assert (told.action, told.bound, told.looked_at[0].action) == ("allow", None, "hard-stop")


def test_a_rule_may_name_the_model_by_any_name_the_call_bears() -> None:
    of = budget("user:ada", rules=[(["latest"], "sonnet")])
    asked = call("0.1", model="opus", model_names=frozenset({"opus", "latest"}))
    assert decision(asked, (of, "9", "0")).suggested_model == "sonnet"


def test_a_rule_never_suggests_the_model_that_was_asked_for_under_another_name() -> None:
    of = budget("user:ada", rules=[(["*"], "haiku"), (["*"], "small")])
    asked = call("0.1", model="haiku-2", model_names=frozenset({"haiku-2", "haiku"}))
    assert decision(asked, (of, "9", "0")).suggested_model == "small"


NAMED = (
    model_facts("opus", aliases=("latest",)),
    model_facts("haiku", aliases=("quick",)),
    model_facts("llama-*"),
)


@pytest.mark.parametrize("name", ["opus", "OPUS", "latest", "Latest", "vendor/opus", "Vendor/Opus"])
def test_the_model_that_gives_way_may_be_named_by_any_of_its_names(name: str) -> None:
    of = budget("user:ada", rules=[(["gpt", name], "haiku")])
    told = decision(call("0.1", model="opus"), (of, "9", "0"), catalog=NAMED)
    assert (told.action, told.suggested_model) == ("degrade", "haiku")
    told = decision(call("0.1", model="gpt-5"), (of, "9", "0"), catalog=NAMED)
    assert (told.action, told.suggested_model) == ("warn", None)


@pytest.mark.parametrize("name", ["haiku", "HAIKU", "quick", "Quick", "vendor/haiku", "Vendor/Haiku"])
@pytest.mark.parametrize("rule", ["*", "haiku", "opus", "latest"])
def test_a_model_is_never_said_to_be_cheaper_than_itself_by_whichever_name(name: str, rule: str) -> None:
    of = budget("user:ada", rules=[([rule], name)])
    told = decision(call("0.1", model="haiku"), (of, "9", "0"), catalog=NAMED)
    assert (told.action, told.suggested_model) == ("warn", None)
    # Negative control: another model does give way to it.
    told = decision(call("0.1", model="opus"), (of, "9", "0"), catalog=NAMED)
    assert told.suggested_model == (None if rule == "haiku" else name)


def test_names_that_one_wildcard_catches_are_different_models_in_whatever_letter_case() -> None:
    of = budget("user:ada", rules=[(["LLAMA-4"], "llama-3")])
    for asked, suggested in (("llama-4", "llama-3"), ("llama-3", None), ("LLAMA-3", None), ("llama-5", None)):
        assert decision(call("0.1", model=asked), (of, "9", "0"), catalog=NAMED).suggested_model == suggested


def test_what_the_catalog_does_not_know_gives_way_in_whatever_letter_case() -> None:
    of = budget("user:ada", rules=[(["Smart", "house-model"], "haiku")])
    route = call("0.1", model="gpt-5", model_names=frozenset({"smart", "gpt-5"}))
    for asked in (route, call("0.1", model="House-Model")):
        assert decision(asked, (of, "9", "0"), catalog=NAMED).suggested_model == "haiku"


def test_disabled_tools_of_all_budgets_above_their_soft_cap_add_up_in_order() -> None:
    stands = [
        (budget("user:ada", tools=["web", "code"]), "8", "0"),
        (budget("tenant", tools=["file", "web"]), "9", "0"),
        (budget("agent:bot", tools=["shell"]), "0", "0"),
        (budget("org:o", tools=["mail"], is_enforced=False), "9", "0"),
    ]
    assert decision(call("0"), *stands).disabled_tools == ("web", "code", "file")


def test_each_budget_is_reported_as_it_stood_before_the_call() -> None:
    told = decision(call("1"), (budget("user:ada", "10"), "3", "2"), (budget("tenant", "100"), "99", "0.5"))
    assert [(each.action, format_usd(each.remaining_nano_usd), each.state) for each in told.looked_at] == [
        ("allow", "5.00", "active"),
        ("hard-stop", "0.50", "warned"),
    ]


# --- what holds for any budgets and any call ----------------------------------------------------

amounts = st.integers(0, 30) | st.integers(0, 10**13)
shares = st.sampled_from(["0", "0.0001", "0.5", "0.8", "0.9999", "1"]).map(Fraction)


@st.composite
def drawn_budgets(draw: st.DrawFn) -> BudgetFacts:
    soft, hard = sorted([draw(shares), draw(shares)])
    made = budget(
        "user:ada",
        rules=draw(
            st.lists(st.tuples(st.just(["*"]) | st.just(["m"]), st.sampled_from(["haiku", "nobody"])), max_size=2)
        ),
        tools=draw(st.lists(st.sampled_from(["web", "code"]), max_size=2, unique=True)),
    )
    limit = draw(amounts)
    is_enforced, is_frozen = draw(st.booleans()), draw(st.integers(0, 9)) == 0
    return replace(
        made, limit_nano_usd=limit, soft_cap=soft, hard_cap=hard, is_enforced=is_enforced, is_frozen=is_frozen
    )


stands_of_budgets = st.lists(st.tuples(drawn_budgets(), st.builds(Count, amounts, amounts)), max_size=5)
calls = st.builds(
    lambda nano_usd, tools: msgspec.structs.replace(call(tools=tuple(tools)), estimated_nano_usd=nano_usd),
    amounts,
    st.lists(st.sampled_from(["web", "file"]), max_size=2, unique=True),
)

KNOWN = known_models(model_facts("haiku"))

Stands = list[tuple[BudgetFacts, Count]]


def decided(asked: Call, stands: Stands) -> Decision:
    return decide(new_id(), asked, [matched(of) for of, _ in stands], [count for _, count in stands], lambda: KNOWN)


def enforced(told: Decision) -> list[LookedAt]:
    return [each for each in told.looked_at if each.matched.budget.is_enforced]


@settings(max_examples=150)
@given(asked=calls, stands=stands_of_budgets)
def test_no_call_is_allowed_that_would_pass_the_hard_cap_of_an_enforced_budget(asked: Call, stands: Stands) -> None:
    told = decided(asked, stands)
    fits = all(
        not of.is_frozen
        and sum(count) + asked.estimated_nano_usd <= (hard := of.limit_nano_usd * of.hard_cap // 1)
        and sum(count) < hard
        for of, count in stands
        if of.is_enforced
    )
    assert told.allowed is fits


@settings(max_examples=150)
@given(asked=calls, stands=stands_of_budgets)
def test_the_answer_is_the_strictest_of_the_enforced_budgets(asked: Call, stands: Stands) -> None:
    told = decided(asked, stands)
    strictest = max((STRICTNESS[each.action] for each in enforced(told)), default=0)
    assert STRICTNESS[told.action] == strictest
    assert (told.bound is None) == (told.action == "allow")
    if told.bound is not None:
        assert told.bound.matched.budget.is_enforced and told.bound.action == told.action
    assert decided(asked, stands[::-1]).action == told.action


@settings(max_examples=150)
@given(asked=calls, stands=stands_of_budgets)
def test_what_remains_is_the_least_room_and_never_negative(asked: Call, stands: Stands) -> None:
    told = decided(asked, stands)
    rooms = [max(0, of.limit_nano_usd * of.hard_cap // 1 - sum(count)) for of, count in stands if of.is_enforced]
    if not rooms:
        assert told.remaining_nano_usd is None
    else:
        assert told.remaining_nano_usd == min(rooms) - (asked.estimated_nano_usd if told.allowed else 0)
        assert told.remaining_nano_usd >= 0


@given(asked=calls, more=amounts, stands=stands_of_budgets)
def test_a_dearer_call_is_never_answered_more_kindly(asked: Call, more: int, stands: Stands) -> None:
    dearer = msgspec.structs.replace(asked, estimated_nano_usd=asked.estimated_nano_usd + more)
    assert STRICTNESS[decided(dearer, stands).action] >= STRICTNESS[decided(asked, stands).action]


@given(asked=calls, stands=stands_of_budgets)
def test_budgets_that_observe_change_nothing_of_the_answer(asked: Call, stands: Stands) -> None:
    told, alone = decided(asked, stands), decided(asked, [stand for stand in stands if stand[0].is_enforced])
    for fact in ("allowed", "action", "reason", "suggested_model", "disabled_tools", "remaining_nano_usd", "resets_at"):
        assert getattr(told, fact) == getattr(alone, fact)
    assert len(told.looked_at) == len(stands)


@given(asked=calls, stands=stands_of_budgets)
def test_a_suggested_model_is_known_and_another_one(asked: Call, stands: Stands) -> None:
    suggested = decided(asked, stands).suggested_model
    assert suggested in (None, "haiku") and suggested != asked.model


# --- the chain that rules would step through -----------------------------------------------------


@pytest.mark.django_db
def test_rules_are_followed_step_by_step_and_never_in_circles() -> None:
    acme = factories.acme()
    vendor = factories.ProviderFactory(name="vendor")
    for name, aliases in (("opus", []), ("sonnet", []), ("haiku", ["quick"])):
        factories.ModelFactory(name=name, provider=vendor, aliases=aliases)
    factories.ModelFactory(name="old", is_enabled=False)
    refresh_all()
    steps = [(["opus"], "old"), (["opus"], "sonnet"), (["sonnet"], "haiku"), (["haiku"], "opus"), (["*"], "haiku")]
    of = budget("user:ada", rules=steps)
    assert downgrade_chain(of, "opus", acme.pk) == ("sonnet", "haiku")
    assert downgrade_chain(of, "gpt", acme.pk) == ("haiku", "opus", "sonnet")
    assert downgrade_chain(budget("user:ada"), "opus", acme.pk) == ()
    by_other_names = [(["Opus"], "vendor/sonnet"), (["SONNET"], "quick"), (["vendor/haiku"], "OPUS")]
    assert downgrade_chain(budget("user:ada", rules=by_other_names), "opus", acme.pk) == ("vendor/sonnet", "quick")
    assert [model_is_known(acme.pk, name) for name in ("haiku", "old", "nobody")] == [True, False, False]
