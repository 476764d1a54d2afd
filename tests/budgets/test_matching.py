"""Which budgets a call falls under: all that name it, an exact key in place of "*" for the same type and period."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets import matching
from budgets.calls import scopes_of
from budgets.matching import Matches, _match, count_budgets, match_budgets, replaced_keys
from budgets.periods import as_datetime
from budgets.snapshot import BudgetFacts, Raise, TenantBudgets
from spendhub.tenants.attribution import NOBODY, Attribution
from tests.budgets.facts import NOW, at, budget, raised, tenant

NANO = 10**9
ADA = scopes_of(Attribution(user="ada"), "", "", "")
BEN = scopes_of(Attribution(user="ben"), "", "", "")


def names(matches: Matches | tuple[matching.Matched, ...]) -> list[str]:
    return [f"{each.budget.scope_type}:{each.budget.scope_key}/{each.budget.period}" for each in matches]


def matching_names(budgets: TenantBudgets, scopes: tuple[tuple[str, str], ...] = ADA, now: datetime = NOW) -> list[str]:
    return names(match_budgets(budgets, scopes, now))


def test_every_dimension_of_a_call_is_a_scope_and_so_are_its_key_provider_and_model() -> None:
    who = Attribution(org="o", user="u", agent="a", feature="f", session="s", task="t")
    assert scopes_of(who, "sh_abc", "openai", "gpt-4o") == (
        ("tenant", "*"),
        ("org", "o"),
        ("user", "u"),
        ("agent", "a"),
        ("feature", "f"),
        ("session", "s"),
        ("task", "t"),
        ("api_key", "sh_abc"),
        ("provider", "openai"),
        ("model", "gpt-4o"),
    )
    assert scopes_of(NOBODY, "", "", "") == (("tenant", "*"),)


def test_budgets_of_all_types_apply_together_and_none_hides_another() -> None:
    everything = ["tenant", "org:o", "user:ada", "agent:bot", "api_key:sh_1", "provider:openai", "model:gpt"]
    scopes = scopes_of(Attribution(org="o", user="ada", agent="bot"), "sh_1", "openai", "gpt")
    found = matching_names(tenant(*map(budget, everything)), scopes)
    assert found == [f"{scope if ':' in scope else scope + ':*'}/month" for scope in everything]


def test_a_budget_on_another_key_does_not_apply() -> None:
    assert matching_names(tenant(budget("user:ben"), budget("org:ada"), budget("agent:*"))) == []


def test_the_allowance_gives_each_key_a_count_of_its_own() -> None:
    each = tenant(budget("user:*"))
    assert [match_budgets(each, scopes, NOW)[0].scope_key for scopes in (ADA, BEN)] == ["ada", "ben"]


def test_an_exact_key_replaces_the_allowance_of_the_same_type_and_period() -> None:
    budgets = tenant(budget("user:*", "5"), budget("user:ada", "10"), budget("agent:*"))
    assert matching_names(budgets, ADA) == ["user:ada/month"]
    assert matching_names(budgets, BEN) == ["user:*/month"]


def test_an_exact_key_leaves_the_allowance_of_another_period_in_force() -> None:
    budgets = tenant(budget("user:*", "5", period="day"), budget("user:ada", "10"))
    assert sorted(matching_names(budgets)) == ["user:*/day", "user:ada/month"]


def test_a_replaced_allowance_keeps_counting_and_decides_nothing() -> None:
    budgets = tenant(budget("user:*", "5"), budget("user:ada", "10"))
    counted = count_budgets(budgets, ADA, NOW)
    assert {(name, each.is_replaced) for name, each in zip(names(counted), counted, strict=True)} == {
        ("user:ada/month", False),
        ("user:*/month", True),
    }
    assert [line.budget_id for line in match_budgets(budgets, ADA, NOW).lines] == [
        budgets.by_scope["user", "ada"][0].id
    ]


def test_an_allowance_is_replaced_only_while_the_exact_budget_is_in_force() -> None:
    budgets = tenant(
        budget("user:*"), budget("user:ada", starts_at=at("2026-11-25 00:00"), ends_at=at("2026-11-26 00:00"))
    )
    days = [at(f"2026-11-{day} 00:00") for day in ("24", "25", "26")]
    assert [matching_names(budgets, ADA, day) for day in days] == [
        ["user:*/month"],
        ["user:ada/month"],
        ["user:*/month"],
    ]
    (allowance,) = budgets.by_scope["user", "*"]
    assert [replaced_keys(allowance, budgets.by_id.values(), day) for day in days] == [set(), {"ada"}, set()]


def test_a_frozen_exact_budget_replaces_the_allowance_too() -> None:
    assert matching_names(tenant(budget("user:*"), budget("user:ada", is_frozen=True))) == ["user:ada/month"]


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "is_in_force"),
    [
        (None, None, True),
        (NOW, None, True),
        (NOW + timedelta(microseconds=1), None, False),
        (None, NOW, False),
        (None, NOW + timedelta(microseconds=1), True),
    ],
)
def test_a_budget_is_in_force_from_its_beginning_until_just_before_its_end(
    starts_at: datetime | None, ends_at: datetime | None, is_in_force: bool
) -> None:
    found = matching_names(tenant(budget("user:ada", starts_at=starts_at, ends_at=ends_at)))
    assert found == (["user:ada/month"] if is_in_force else [])


def test_a_raise_lifts_limit_and_caps_while_it_lasts_and_raises_add_up() -> None:
    lasting = (raised("5"), raised("1", at("2026-11-24 18:00"), at("2026-11-25 00:00")))
    budgets = tenant(budget("user:ada", "10", soft="0.5", hard="0.9", raises=lasting))

    def limits(moment: str) -> tuple[int, int, int]:
        (found,) = match_budgets(budgets, ADA, at(moment))
        return found.limit_nano_usd, found.soft_nano_usd, found.hard_nano_usd

    assert limits("2026-11-24 11:59") == (10 * NANO, 5 * NANO, 9 * NANO)
    assert limits("2026-11-24 12:00") == (15 * NANO, 7_500_000_000, 13_500_000_000)
    assert limits("2026-11-24 18:00") == (16 * NANO, 8 * NANO, 14_400_000_000)
    assert limits("2026-11-25 00:00") == (15 * NANO, 7_500_000_000, 13_500_000_000)
    assert limits("2026-12-01 00:00") == (10 * NANO, 5 * NANO, 9 * NANO)


def test_where_caps_are_no_whole_nano_dollars_the_soft_one_rounds_up_and_the_hard_one_down() -> None:
    three_nano = budget("user:ada", "0.000000003", soft="0.5", hard="0.5")
    assert (three_nano.soft_at(NOW), three_nano.hard_at(NOW)) == (2, 1)


def test_windows_are_cut_in_the_tenants_time_zone() -> None:
    (found,) = match_budgets(tenant(budget("user:ada"), timezone="Europe/Berlin"), ADA, NOW)
    assert as_datetime(found.window.starts_at) == at("2026-10-31 23:00")


def test_a_match_is_remembered_until_something_turns() -> None:
    budgets = tenant(budget("user:ada", period="hour", raises=(raised("1", at("2026-11-24 12:40")),)))
    first = match_budgets(budgets, ADA, NOW)
    assert match_budgets(budgets, ADA, at("2026-11-24 12:39")) is first
    assert match_budgets(budgets, ADA, at("2026-11-24 12:40"))[0].limit_nano_usd == 11 * NANO
    assert match_budgets(budgets, ADA, at("2026-11-24 13:00"))[0].window.starts_at == at("2026-11-24 13:00").timestamp()


def test_matches_of_too_many_callers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MAX_REMEMBERED_MATCHES", 2)
    budgets = tenant(budget("user:*"))
    for number in range(5):
        match_budgets(budgets, (("user", str(number)),), NOW)
        assert len(budgets.matched) <= 2
    assert match_budgets(budgets, (("user", "0"),), NOW)[0].scope_key == "0"


# --- a remembered match is what would be worked out anew, at any moment ------------------------

# Few moments, so that beginnings, ends, raises, windows and questions often meet.
moments = st.integers(0, 12).map(lambda step: at("2026-11-30 18:00") + timedelta(minutes=step * 60 + step % 2 * 30))
spans_of_time = st.tuples(st.none() | moments, st.none() | moments).filter(
    lambda ends: ends[0] is None or ends[1] is None or ends[0] < ends[1]
)
raises = st.tuples(moments, moments).filter(lambda ends: ends[0] < ends[1]).map(lambda ends: Raise(NANO, *ends))


@st.composite
def drawn_budgets(draw: st.DrawFn) -> BudgetFacts:
    starts_at, ends_at = draw(spans_of_time)
    return budget(
        draw(st.sampled_from(["tenant", "user:*", "user:ada", "user:ben", "agent:*"])),
        period=draw(st.sampled_from(["hour", "day", "week", "month", "total"])),
        starts_at=starts_at,
        ends_at=ends_at,
        raises=tuple(draw(st.lists(raises, max_size=2))),
    )


@settings(max_examples=150)
@given(
    made=st.lists(drawn_budgets(), max_size=6),
    asked=st.lists(st.tuples(st.sampled_from([ADA, BEN]), moments, st.sampled_from([-1, 0, 1])), max_size=12),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]),
)
def test_a_remembered_match_is_what_would_be_worked_out_anew(
    made: list[BudgetFacts],
    asked: list[tuple[tuple[tuple[str, str], ...], datetime, int]],
    zone: str,
) -> None:
    budgets = tenant(*made, timezone=zone)
    for scopes, moment, micros in asked:
        now = moment + timedelta(microseconds=micros)
        remembered, anew = match_budgets(budgets, scopes, now), _match(budgets, scopes, now)
        assert (tuple(remembered), remembered.counted) == (tuple(anew), anew.counted)
        assert [line.hard_nano_usd for line in remembered.lines] == [each.hard_nano_usd for each in anew]
        for each in remembered.counted:
            assert each.window.contains(now.timestamp())


@given(made=st.lists(drawn_budgets(), max_size=8), now=moments)
def test_of_one_type_and_period_a_call_meets_exact_budgets_or_the_allowance_never_both(
    made: list[BudgetFacts], now: datetime
) -> None:
    found = match_budgets(tenant(*made), ADA, now)
    kinds = {(each.budget.scope_type, each.budget.period, each.budget.scope_key == "*") for each in found}
    for scope_type, period, _ in kinds:
        assert scope_type == "tenant" or len({kind for kind in kinds if kind[:2] == (scope_type, period)}) == 1
    # Nothing in force is left out but replaced allowances.
    wanted = {
        each.id for each in made if each.is_in_force(now) and (each.scope_type, each.scope_key) in {*ADA, ("user", "*")}
    }
    assert {each.budget.id for each in count_budgets(tenant(*made), ADA, now)} == wanted
