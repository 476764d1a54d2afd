"""Windows in which more spend has nothing to tell: no state changes, no threshold, no stop, up to some amount.

Most spend is of that kind. Who knows it beforehand can add to the ledger without looking at the rows in between; the
promise is checked by the database in the very statement that adds (KEEPS_ITS_PROMISE); broken it undoes the write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from budgets.decisions import spend_state
from budgets.ledger import Standing
from budgets.matching import Matched
from budgets.states import WindowKey, WindowStands, newly_crossed

# A process that spends in more windows than this at once gets to know them again.
MAX_REMEMBERED_WINDOWS = 20_000
# Higher than any sum of money that a column holds.
NO_LINE = 2**63 - 1


class Quiet(NamedTuple):
    """A ledger row as it was last seen, and the highest spend counted in it that tells nothing."""

    stands: WindowStands
    up_to_nano_usd: int
    limits: tuple[int, int, int, bool]

    def promise(self) -> tuple[object, ...]:
        """The row of PROMISED_COLUMNS that KEEPS_ITS_PROMISE checks: what the row is still told of, and how much it may
        have counted."""
        stands = self.stands
        return (
            stands.id, stands.state, stands.hard_stop_told, stands.told_thresholds, stands.counted_nano_usd,
            self.up_to_nano_usd,
        )  # fmt: skip


PROMISED_COLUMNS = ("id", "state", "hard_stop_told", "told_thresholds", "least_nano_usd", "most_nano_usd")
# PostgreSQL: whether the row that was just written is still told of what was promised of it in the statement's second
# parameter, and still has nothing to tell.
KEEPS_ITS_PROMISE = """COALESCE((
    SELECT ledger.state = promised.state AND ledger.hard_stop_told = promised.hard_stop_told
        AND ledger.told_thresholds = promised.told_thresholds
        AND ledger.spend_nano_usd - ledger.forgiven_nano_usd BETWEEN promised.least_nano_usd AND promised.most_nano_usd
    FROM json_to_recordset($2::json) AS promised(
        id bigint, state text, hard_stop_told boolean, told_thresholds jsonb,
        least_nano_usd bigint, most_nano_usd bigint
    )
    WHERE promised.id = ledger.id
), false)""".replace("ledger.", "budgets_budgetwindow.")


def quiet_up_to(stands: WindowStands, matched: Matched) -> int | None:
    """The highest spend (nano_usd) up to which adding to this row tells nothing; None where it has something to tell as
    it is."""
    if matched.is_replaced:
        return NO_LINE
    counted = stands.counted_nano_usd
    if counted <= 0:
        return None  # nothing is told of a window that counts nothing, whatever lines it is on already
    state = spend_state(matched, counted)
    if state != stands.state or newly_crossed(stands, matched) or (state == "stopped" and not stands.hard_stop_told):
        return None
    lines = [matched.soft_nano_usd, matched.hard_nano_usd]
    lines += [each.line_nano_usd(matched.limit_nano_usd) for each in matched.budget.thresholds]
    return min((line for line in lines if line > counted), default=NO_LINE + 1) - 1


class QuietWindows:
    """What one process knows of its windows' rows. Not for several threads."""

    def __init__(self) -> None:
        self._known: dict[WindowKey, Quiet] = {}

    def learn(self, standings: Iterable[Standing]) -> None:
        """Remembers how rows stand after a write, and its tellings, by whoever."""
        for standing in standings:
            stands, matched = standing
            up_to = quiet_up_to(stands, matched)
            if up_to is None:
                self._known.pop(stands.key, None)
                continue
            if len(self._known) >= MAX_REMEMBERED_WINDOWS:
                self._known.clear()
            self._known[stands.key] = Quiet(stands, up_to, _limits(matched))

    def find(self, key: WindowKey, matched: Matched) -> Quiet | None:
        """What is known of the window, None for nothing, or where its limits have changed since."""
        known = self._known.get(key)
        return known if known is not None and known.limits == _limits(matched) else None

    def forget(self, keys: Iterable[WindowKey]) -> None:
        """Drops windows whose promise did not hold."""
        for key in keys:
            self._known.pop(key, None)


def _limits(matched: Matched) -> tuple[int, int, int, bool]:
    return matched.limit_nano_usd, matched.soft_nano_usd, matched.hard_nano_usd, matched.is_replaced
