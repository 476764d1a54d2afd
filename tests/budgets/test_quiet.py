"""A window is called quiet only where more spend would tell nothing."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from budgets.decisions import spend_state
from budgets.ledger import Standing
from budgets.matching import Matched
from budgets.periods import Window
from budgets.quiet import NO_LINE, QuietWindows, quiet_up_to
from budgets.snapshot import BudgetFacts, Threshold
from budgets.states import WindowStands, newly_crossed

amounts = st.integers(min_value=0, max_value=2_000)
shares = st.fractions(min_value=0, max_value=2, max_denominator=20)


def matched(
    limit: int = 1_000,
    soft: Fraction = Fraction(4, 5),
    thresholds: tuple[Fraction, ...] = (),
    *,
    is_replaced: bool = False,
) -> Matched:
    budget = BudgetFacts(
        uuid.UUID(int=1), 1, "b", "user", "*", limit, "month", soft, Fraction(1), True, False,
        tuple(Threshold(str(share), share) for share in sorted(thresholds)),
    )  # fmt: skip
    now = datetime(2026, 11, 25, tzinfo=UTC)
    return Matched(budget, "ada", Window(0, None), limit, budget.soft_at(now), budget.hard_at(now), is_replaced)


def stands(
    counted: int, state: str = "active", told: tuple[str, ...] = (), *, hard_stop_told: bool = False
) -> WindowStands:
    return WindowStands(7, (1, uuid.UUID(int=1), "ada", 0), counted, 3, state, 0, told, hard_stop_told)


def has_news(row: WindowStands, budget: Matched) -> bool:
    state = spend_state(budget, row.counted_nano_usd)
    stops = state == "stopped" and not row.hard_stop_told
    return not budget.is_replaced and (state != row.state or bool(newly_crossed(row, budget)) or stops)


@given(
    limit=amounts,
    soft=shares,
    thresholds=st.lists(shares, max_size=3).map(tuple),
    counted=amounts,
    later=amounts,
    state=st.sampled_from(["active", "warned", "degraded", "stopped"]),
    tells=st.lists(shares.map(str), max_size=3).map(tuple),
    hard_stop_told=st.booleans(),
    is_replaced=st.booleans(),
)
def test_up_to_the_quiet_amount_nothing_is_told(
    limit: int, soft: Fraction, thresholds: tuple[Fraction, ...], counted: int, later: int, state: str,
    tells: tuple[str, ...], hard_stop_told: bool, is_replaced: bool,
) -> None:  # fmt: skip
    budget = matched(limit, soft, thresholds, is_replaced=is_replaced)
    row = stands(counted, state, (*tells, *(str(each) for each in thresholds[:1])), hard_stop_told=hard_stop_told)

    up_to = quiet_up_to(row, budget)

    if up_to is not None and counted <= later <= up_to:
        at_its_time = stands(later, state, row.told_thresholds, hard_stop_told=hard_stop_told)
        assert not has_news(at_its_time, budget)


def test_the_quiet_ends_right_below_the_next_line() -> None:
    budget = matched(1_000, Fraction(4, 5), (Fraction(1, 2),))
    assert quiet_up_to(stands(1), budget) == 499
    assert quiet_up_to(stands(500, told=("1/2",)), budget) == 799
    assert quiet_up_to(stands(800, "warned", ("1/2",)), budget) == 999
    assert quiet_up_to(stands(1_000, "stopped", ("1/2",), hard_stop_told=True), budget) == NO_LINE


def test_a_row_that_has_something_to_tell_as_it_is_is_not_quiet() -> None:
    budget = matched(1_000, Fraction(4, 5), (Fraction(1, 2),))
    assert quiet_up_to(stands(500), budget) is None
    assert quiet_up_to(stands(800, told=("1/2",)), budget) is None
    assert quiet_up_to(stands(1_000, "stopped", ("1/2",)), budget) is None
    # Lines at 0 are told with the first nano-dollar.
    assert quiet_up_to(stands(0), matched(1_000, Fraction(4, 5), (Fraction(0),))) is None


def test_an_allowance_that_is_replaced_tells_nothing_ever() -> None:
    assert quiet_up_to(stands(5_000), matched(is_replaced=True)) == NO_LINE


def test_what_was_learned_of_a_window_holds_for_the_same_limits_only() -> None:
    windows = QuietWindows()
    row, budget = stands(1), matched(1_000)
    windows.learn([Standing(row, budget)])

    known = windows.find(row.key, matched(1_000))
    assert known is not None
    assert (known.stands, known.up_to_nano_usd) == (row, 799)
    assert windows.find(row.key, matched(900)) is None
    assert windows.find((1, uuid.UUID(int=1), "ben", 0), budget) is None

    windows.learn([Standing(stands(800), budget)])
    assert windows.find(row.key, budget) is None
