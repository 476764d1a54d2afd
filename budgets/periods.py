"""Which window a moment falls in, cut in the tenant's time zone. Pure.

A day is as long as the zone's clocks make it (23 or 25 hours when they change), a week begins on
Monday, a month on its first day. Source: docs/budgets.md, "Windows".
"""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, overload
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)


class Window(NamedTuple):
    """One concrete period, in epoch seconds; a `total` window starts at 0 and has no end."""

    starts_at: int
    ends_at: int | None

    def contains(self, moment: float) -> bool:
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)


@overload
def as_datetime(epoch_seconds: int) -> datetime: ...
@overload
def as_datetime(epoch_seconds: None) -> None: ...
@overload
def as_datetime(epoch_seconds: int | None) -> datetime | None: ...
def as_datetime(epoch_seconds: int | None) -> datetime | None:
    """Epoch seconds as aware UTC; None stays None."""
    return None if epoch_seconds is None else EPOCH + timedelta(seconds=epoch_seconds)


@functools.lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo:
    """The IANA time zone `name`."""
    return ZoneInfo(name)


# The current window of a (period, zone) pair is asked for with every call: remember the last one.
_latest: dict[tuple[str, str], Window] = {}


def window_at(period: str, moment: datetime, timezone: str) -> Window:
    """The window of `period` (hour, day, week, month, total) that holds `moment` in `timezone`."""
    seconds = moment.timestamp()
    known = _latest.get((period, timezone))
    if known is not None and known.contains(seconds):
        return known
    window = cut_window(period, moment, timezone)
    _latest[(period, timezone)] = window
    return window


def cut_window(period: str, moment: datetime, timezone: str) -> Window:
    """`window_at`, worked out anew. Raises ValueError for a period we do not know."""
    if period == "total":
        return Window(0, None)
    tz = zone(timezone)
    if period == "hour":
        return _cut_hour(moment, tz)
    local = moment.astimezone(tz)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
    tomorrow = midnight + timedelta(days=1)
    if local.fold and _first_moment_of(tomorrow, tz) <= moment.timestamp():
        # The clocks went back over midnight: the new date had begun, and a date begins only once.
        midnight = tomorrow
    if period == "day":
        first, following = midnight, midnight + timedelta(days=1)
    elif period == "week":
        first = midnight - timedelta(days=midnight.weekday())
        following = first + timedelta(days=7)
    elif period == "month":
        first = midnight.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
    else:
        raise ValueError(f"unknown period {period!r}")
    return Window(_first_moment_of(first, tz), _first_moment_of(following, tz))


def _cut_hour(moment: datetime, tz: ZoneInfo) -> Window:
    """Hours are cut in absolute time from the local full hour, so that the hour which the clocks repeat
    in autumn is two windows, and zones with half-hour offsets begin at their own :00. Where the clocks
    move by less than an hour (Lord Howe), the change itself ends one window and begins the next."""
    local = moment.astimezone(tz)
    seconds = math.floor(moment.timestamp())
    start = seconds - (local.minute * 60 + local.second)
    end = start + 3600
    if _minute_hand(start, tz) != _minute_hand(seconds, tz):
        start = _change_between(start, seconds, tz)
    if _minute_hand(end - 1, tz) != _minute_hand(seconds, tz):
        end = _change_between(seconds, end - 1, tz)
    return Window(start, end)


def hour_stretches(starts_at: datetime, ends_at: datetime, timezone: str) -> list[tuple[datetime, datetime, timedelta]]:
    """The range in parts in each of which all hours, as `cut_window` cuts them, begin at the same minute of UTC's
    hours: (beginning, end, how far the zone's clocks are ahead within the hour). Nearly always that is one part.

    After 2100 clocks are taken to stand as they will then.
    """
    tz = zone(timezone)
    first = math.floor(starts_at.timestamp())
    last = max(first, math.floor(min(ends_at, _FAR_AHEAD).timestamp()))
    parts, begun, known = [], starts_at, first
    # No zone has ever moved its minute hand and moved it back within a week.
    for moment in (*range(first, last, 7 * 86_400), last):
        if _minute_hand(moment, tz) != _minute_hand(known, tz):
            change = EPOCH + timedelta(seconds=_change_between(known, moment, tz))
            parts.append((begun, change, _ahead_within_the_hour(known, tz)))
            begun = change
        known = moment
    return [*parts, (begun, ends_at, _ahead_within_the_hour(known, tz))]


def _ahead_within_the_hour(epoch_seconds: int, tz: ZoneInfo) -> timedelta:
    return timedelta(minutes=_minute_hand(epoch_seconds, tz) // 60)


def _minute_hand(epoch_seconds: int, tz: ZoneInfo) -> int:
    """How far the zone's clocks stand from UTC's within the hour, in seconds."""
    local = datetime.fromtimestamp(epoch_seconds, tz)
    return (local.minute * 60 + local.second - epoch_seconds) % 3600


def _change_between(before: int, after: int, tz: ZoneInfo) -> int:
    """The first moment whose minute hand is that of `after`, not that of `before`."""
    hand = _minute_hand(after, tz)
    while after - before > 1:
        middle = (before + after) // 2
        if _minute_hand(middle, tz) == hand:
            after = middle
        else:
            before = middle
    return after


def _first_moment_of(local_midnight: datetime, tz: ZoneInfo) -> int:
    """Epoch seconds at which the local date begins; where midnight is skipped by a clock change,
    the first moment after the gap; where it happens twice, the first of the two."""
    aware = local_midnight.replace(tzinfo=tz, fold=0)
    seconds = aware.astimezone(UTC)
    if seconds.astimezone(tz).replace(tzinfo=None) != local_midnight:
        # In a gap, fold=0 applies the offset from before it, which lands behind the change by as much as
        # midnight lies inside the gap; the date begins exactly where the offset changes.
        before = int((seconds - timedelta(hours=3)).timestamp())
        after = int(seconds.timestamp())
        date = local_midnight.date()
        while after - before > 1:
            middle = (before + after) // 2
            if datetime.fromtimestamp(middle, tz).date() < date:
                before = middle
            else:
                after = middle
        return after
    return int(seconds.timestamp())
