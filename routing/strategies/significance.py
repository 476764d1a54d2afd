"""Whether one arm of an experiment is really better, or just lucky: a two-proportion z-test, said in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

from spendhub.errors import Invalid

SIGNIFICANT_BELOW = 0.05
# The test takes the normal curve for the real one; below this many of either outcome in an arm that is not so.
LEAST_OF_EACH = 5


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm of an experiment came to: how many calls, and how many of them succeeded (or pleased)."""

    name: str
    calls: int
    successes: int

    @property
    def rate(self) -> float:
        """The share of successes; 0 without calls."""
        return self.successes / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """`z` is positive where the second arm is better; `p_value` is how likely such a difference is by chance alone."""

    z: float
    p_value: float
    is_significant: bool
    note: str


def compare(first: Arm, second: Arm) -> Comparison:
    """Compares two arms by their rates of success. Raises Invalid for counts that no arm can have."""
    for arm in (first, second):
        if not 0 <= arm.successes <= arm.calls:
            raise Invalid(f"{arm.name}: {arm.successes} successes of {arm.calls} calls cannot be")
    smallest = min(min(arm.successes, arm.calls - arm.successes) for arm in (first, second))
    if first.calls == 0 or second.calls == 0:
        return Comparison(0.0, 1.0, False, "Too early to say: one of them has had no calls.")
    pooled = (first.successes + second.successes) / (first.calls + second.calls)
    spread = sqrt(pooled * (1 - pooled) * (1 / first.calls + 1 / second.calls))
    z = (second.rate - first.rate) / spread if spread else 0.0
    p_value = erfc(abs(z) / sqrt(2))
    better, other = (second, first) if z > 0 else (first, second)
    rates = f"{better.name} {better.rate:.1%}, {other.name} {other.rate:.1%}"
    if smallest < LEAST_OF_EACH:
        note = (
            f"Too early to say: each needs at least {LEAST_OF_EACH} successes and {LEAST_OF_EACH} failures ({rates})."
        )
        return Comparison(z, p_value, False, note)
    if p_value >= SIGNIFICANT_BELOW:
        note = (
            f"No difference to speak of: chance alone shows one like it in {p_value:.0%} of such experiments ({rates})."
        )
        return Comparison(z, p_value, False, note)
    chance = f"{p_value:.1%}" if p_value >= 0.001 else "less than 0.1%"
    return Comparison(z, p_value, True, f"{better.name} is better: chance alone shows this in {chance} ({rates}).")
