"""Which window a moment falls in: as long as the zone's clocks make it, and every moment in exactly one."""

from __future__ import annotations

import uuid
import zoneinfo
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from budgets.matching import window_of
from budgets.periods import Window, as_datetime, cut_window, window_at
from budgets.snapshot import BudgetFacts

CUT = ("hour", "day", "week", "month")
# Zones whose clocks do something: whole, half and quarter hours, changes at midnight, a day left out.
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/St_Johns",
    "Asia/Beirut", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Gaza", "Australia/Lord_Howe", "Pacific/Apia",
    "Pacific/Chatham", "Pacific/Kiritimati", "Africa/Casablanca", "America/Caracas", "America/Nuuk",
)  # fmt: skip


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(window: Window) -> tuple[str, str | None]:
    """The window's ends in UTC, to the minute."""
    start, end = as_datetime(window.starts_at), as_datetime(window.ends_at)
    return f"{start:%Y-%m-%d %H:%M}", end and f"{end:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("period", "moment", "zone", "start", "end"),
    [
        # A plain day, week (from Monday) and month of a zone ahead of UTC.
        ("day", "2026-11-24 23:30", "Europe/Berlin", "2026-11-24 23:00", "2026-11-25 23:00"),
        ("week", "2026-11-22 22:59", "Europe/Berlin", "2026-11-15 23:00", "2026-11-22 23:00"),
        ("week", "2026-11-22 23:00", "Europe/Berlin", "2026-11-22 23:00", "2026-11-29 23:00"),
        ("month", "2026-11-30 22:59", "Europe/Berlin", "2026-10-31 23:00", "2026-11-30 23:00"),
        # Month ends, leap years, the end of a year.
        ("month", "2026-02-28 23:59", "UTC", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("month", "2028-02-29 12:00", "UTC", "2028-02-01 00:00", "2028-03-01 00:00"),
        ("month", "2026-12-31 23:59", "UTC", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("month", "2026-01-31 00:00", "UTC", "2026-01-01 00:00", "2026-02-01 00:00"),
        ("week", "2027-01-01 12:00", "UTC", "2026-12-28 00:00", "2027-01-04 00:00"),
        # Half and quarter hours: a zone's hours begin at its own :00.
        ("hour", "2026-06-01 10:15", "Asia/Kolkata", "2026-06-01 09:30", "2026-06-01 10:30"),
        ("hour", "2026-06-01 10:15", "Asia/Kathmandu", "2026-06-01 10:15", "2026-06-01 11:15"),
        ("day", "2026-06-01 18:29", "Asia/Kolkata", "2026-05-31 18:30", "2026-06-01 18:30"),
        # Clocks go forward and back: 23 and 25 hours.
        ("day", "2026-03-29 12:00", "Europe/Berlin", "2026-03-28 23:00", "2026-03-29 22:00"),
        ("day", "2026-10-25 12:00", "Europe/Berlin", "2026-10-24 22:00", "2026-10-25 23:00"),
        ("week", "2026-03-29 12:00", "Europe/Berlin", "2026-03-22 23:00", "2026-03-29 22:00"),
        ("month", "2026-10-25 12:00", "Europe/Berlin", "2026-09-30 22:00", "2026-10-31 23:00"),
        # No midnight: the day begins with the first moment that there is, 01:00 by the clock.
        ("day", "2018-11-04 12:00", "America/Sao_Paulo", "2018-11-04 03:00", "2018-11-05 02:00"),
        ("day", "2018-11-04 02:59", "America/Sao_Paulo", "2018-11-03 03:00", "2018-11-04 03:00"),
        ("day", "2026-03-29 12:00", "Asia/Beirut", "2026-03-28 22:00", "2026-03-29 21:00"),
        ("day", "1919-03-31 12:00", "America/Toronto", "1919-03-31 04:30", "1919-04-01 04:00"),
        # Midnight twice: the day begins at the first of the two.
        ("day", "2026-11-01 12:00", "America/Havana", "2026-11-01 04:00", "2026-11-02 05:00"),
        # The hour before midnight twice: it belongs to the day that it ends.
        ("day", "2018-02-18 02:30", "America/Sao_Paulo", "2018-02-17 02:00", "2018-02-18 03:00"),
        # Clocks that went back over midnight (until 2011): the new day had begun, and stays.
        ("day", "2010-11-07 02:30", "America/St_Johns", "2010-11-07 02:30", "2010-11-08 03:30"),
        ("day", "2010-11-07 03:00", "America/St_Johns", "2010-11-07 02:30", "2010-11-08 03:30"),
        # A day that a whole country left out.
        ("day", "2011-12-30 09:59", "Pacific/Apia", "2011-12-29 10:00", "2011-12-30 10:00"),
        ("day", "2011-12-30 10:00", "Pacific/Apia", "2011-12-30 10:00", "2011-12-31 10:00"),
        # The hour that autumn repeats is two windows; half an hour back ends the hour there.
        ("hour", "2026-10-25 00:30", "Europe/Berlin", "2026-10-25 00:00", "2026-10-25 01:00"),
        ("hour", "2026-10-25 01:30", "Europe/Berlin", "2026-10-25 01:00", "2026-10-25 02:00"),
        ("hour", "2026-04-04 14:59", "Australia/Lord_Howe", "2026-04-04 14:00", "2026-04-04 15:00"),
        ("hour", "2026-04-04 15:00", "Australia/Lord_Howe", "2026-04-04 15:00", "2026-04-04 15:30"),
        ("hour", "2016-05-01 06:45", "America/Caracas", "2016-05-01 06:30", "2016-05-01 07:00"),
        ("hour", "2016-05-01 07:10", "America/Caracas", "2016-05-01 07:00", "2016-05-01 08:00"),
    ],
)
def test_a_moment_falls_in_this_window(period: str, moment: str, zone: str, start: str, end: str) -> None:
    assert shown(cut_window(period, utc(moment), zone)) == (start, end)


def test_the_only_window_of_a_total_budget_has_no_end() -> None:
    window = cut_window("total", utc("2026-11-24 12:00"), "Europe/Berlin")
    assert (window, window.contains(0), window.contains(10**12)) == (Window(0, None), True, True)
    assert as_datetime(window.ends_at) is None


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = Window(100, 200)
    assert [window.contains(moment) for moment in (99.999, 100, 199.999, 200)] == [False, True, True, False]


def test_an_unknown_period_is_an_error() -> None:
    with pytest.raises(ValueError, match="fortnight"):
        cut_window("fortnight", utc("2026-11-24 12:00"), "UTC")


def test_the_last_window_is_remembered_and_never_answers_for_another_moment() -> None:
    asked = [utc(f"2026-11-{day} 12:00") for day in (24, 24, 25, 24)]
    days = [shown(window_at("day", moment, "UTC"))[0] for moment in asked]
    assert days == ["2026-11-24 00:00", "2026-11-24 00:00", "2026-11-25 00:00", "2026-11-24 00:00"]


moments = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
periods = st.sampled_from(CUT)
zones = st.one_of(st.sampled_from(ZONES), st.sampled_from(sorted(zoneinfo.available_timezones())))


@settings(max_examples=400)
@given(period=periods, moment=moments, zone=zones)
@example("day", utc("2010-11-07 02:45"), "America/St_Johns")
@example("month", utc("2011-12-31 12:00"), "Pacific/Apia")
@example("hour", utc("2026-04-04 15:10"), "Australia/Lord_Howe")
def test_every_moment_lies_in_its_window_and_the_windows_tile_time(period: str, moment: datetime, zone: str) -> None:
    window = cut_window(period, moment, zone)
    assert window.ends_at is not None and window.contains(moment.timestamp())
    # Asked at its first and last moment, the window is the same; next to it begin its neighbours.
    first, last = window.starts_at, window.ends_at - 1
    assert {cut_window(period, datetime.fromtimestamp(at, UTC), zone) for at in (first, last)} == {window}
    following = cut_window(period, datetime.fromtimestamp(window.ends_at, UTC), zone)
    before = cut_window(period, datetime.fromtimestamp(window.starts_at, UTC) - timedelta(microseconds=1), zone)
    assert (before.ends_at, following.starts_at) == (window.starts_at, window.ends_at)


@given(moment=moments, zone=zones)
def test_a_day_lies_in_one_month_and_one_week(moment: datetime, zone: str) -> None:
    day = cut_window("day", moment, zone)
    for period in ("week", "month"):
        longer = cut_window(period, moment, zone)
        assert day.ends_at is not None and longer.ends_at is not None
        assert longer.starts_at <= day.starts_at and day.ends_at <= longer.ends_at


# --- what a budget's own beginning and end cut off ---------------------------------------------


def facts(period: str = "day", starts_at: datetime | None = None, ends_at: datetime | None = None) -> BudgetFacts:
    return BudgetFacts(
        uuid.uuid4(), 1, "Budget", "user", "ada", 10, period, Fraction(4, 5), Fraction(1), True, False,
        starts_at=starts_at, ends_at=ends_at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("period", "starts_at", "ends_at", "moment", "window"),
    [
        ("month", None, None, "2026-11-24 12:00", ("2026-11-01 00:00", "2026-12-01 00:00")),
        ("month", "2026-11-10 09:00", None, "2026-11-24 12:00", ("2026-11-10 09:00", "2026-12-01 00:00")),
        ("month", "2026-11-10 09:00", None, "2026-12-24 12:00", ("2026-12-01 00:00", "2027-01-01 00:00")),
        ("month", None, "2026-11-30 18:00", "2026-11-24 12:00", ("2026-11-01 00:00", "2026-11-30 18:00")),
        ("total", "2026-11-10 09:00", None, "2026-11-24 12:00", ("2026-11-10 09:00", None)),
        ("total", None, "2026-12-24 00:00", "2026-11-24 12:00", ("1970-01-01 00:00", "2026-12-24 00:00")),
        ("day", "2026-11-24 09:00", "2026-11-24 17:00", "2026-11-24 12:00", ("2026-11-24 09:00", "2026-11-24 17:00")),
        # Before it begins a budget has its first window ahead; when it has ended, its last behind.
        ("month", "2026-12-10 09:00", None, "2026-11-24 12:00", ("2026-12-10 09:00", "2027-01-01 00:00")),
        ("month", None, "2026-10-15 00:00", "2026-11-24 12:00", ("2026-10-01 00:00", "2026-10-15 00:00")),
        ("month", None, "2026-11-01 00:00", "2026-11-24 12:00", ("2026-10-01 00:00", "2026-11-01 00:00")),
    ],
)
def test_a_budgets_own_beginning_and_end_cut_its_window(
    period: str, starts_at: str | None, ends_at: str | None, moment: str, window: tuple[str, str | None]
) -> None:
    budget = facts(period, utc(starts_at) if starts_at else None, utc(ends_at) if ends_at else None)
    assert shown(window_of(budget, utc(moment), "UTC")) == window


@given(
    period=st.sampled_from((*CUT, "total")),
    zone=st.sampled_from(ZONES),
    starts_at=moments,
    lasts=st.integers(1, 10**14).map(lambda micros: timedelta(microseconds=micros)),
    share=st.floats(0, 1, exclude_max=True),
)
def test_while_a_budget_is_in_force_its_window_holds_the_moment_and_nothing_from_before_or_after(
    period: str, zone: str, starts_at: datetime, lasts: timedelta, share: float
) -> None:
    budget = facts(period, starts_at, starts_at + lasts)
    moment = starts_at + timedelta(microseconds=int(lasts / timedelta(microseconds=1) * share))
    if not budget.is_in_force(moment):  # rounding at the very end
        return
    window = window_of(budget, moment, zone)
    assert window.contains(moment.timestamp())
    assert window.starts_at >= int(starts_at.timestamp())
    assert window.ends_at is not None and window.ends_at - (starts_at + lasts).timestamp() < 1
