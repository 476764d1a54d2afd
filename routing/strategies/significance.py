"""Whether one arm of an experiment is really better, or just lucky: tests of two arms, said in plain words.

Rates are compared by a two-proportion z-test, means by Welch's (each arm has its own spread). Sources: NIST/SEMATECH
e-Handbook of Statistical Methods, 7.3.3 (two proportions), 7.3.1 (two means of unequal spread; B. L. Welch, Biometrika
34, 1947) and 7.2.2.2 (how many are needed; of a difference, whose variance is the sum of both).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, erfc, inf, sqrt
from statistics import NormalDist, fmean, variance

from spendhub.errors import Invalid

SIGNIFICANT_BELOW = 0.05
# The test takes the normal curve for the real one; below this many of either outcome in an arm that is not so.
LEAST_OF_EACH = 5
# Beyond this many values in each arm Welch's t is as good as normal.
LEAST_VALUES = 30
# How likely a difference that is really there shall be found, when it is said how many are needed.
POWER = 0.8
# Nobody counts further.
MOST_NEEDED = 10**12
_NORMAL = NormalDist()


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
class Measured:
    """How one arm was rated: the mean of so many values, and their variance (0 of fewer than two)."""

    name: str
    count: int
    mean: float
    variance: float

    @classmethod
    def of(cls, name: str, values: Sequence[float]) -> Measured:
        """The figures of some values."""
        spread = variance(values) if len(values) > 1 else 0.0
        return cls(name, len(values), fmean(values) if values else 0.0, spread)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`z` is positive where the second arm is better; `p_value` is how likely such a difference is by chance alone.

    `needed` is roughly how many each arm must have to tell, should the difference stay as it is; None where no number
    would do, since there is no difference, or where nothing is known yet.
    """

    z: float
    p_value: float
    is_significant: bool
    note: str
    better: str | None = None
    needed: int | None = None


def compare(first: Arm, second: Arm, *, significant_below: float = SIGNIFICANT_BELOW) -> Comparison:
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
    gap = second.rate - first.rate
    needed = _needed(gap, sum(arm.rate * (1 - arm.rate) for arm in (first, second)), significant_below)
    if smallest < LEAST_OF_EACH:
        note = (
            f"Too early to say: each needs at least {LEAST_OF_EACH} successes and {LEAST_OF_EACH} failures ({rates})."
        )
        return Comparison(z, p_value, False, note, needed=_needed_of_each(first, second, needed))
    return _told(z, p_value, significant_below, better.name, rates, needed)


def compare_means(first: Measured, second: Measured, *, significant_below: float = SIGNIFICANT_BELOW) -> Comparison:
    """Compares two arms by the means of their values, higher being better: Welch's t, read as normal."""
    if min(first.count, second.count) == 0:
        return Comparison(0.0, 1.0, False, "Too early to say: one of them has not been rated.")
    gap = second.mean - first.mean
    spread = sqrt(first.variance / first.count + second.variance / second.count)
    z = gap / spread if spread else (inf if gap > 0 else -inf if gap < 0 else 0.0)
    p_value = erfc(abs(z) / sqrt(2))
    better, other = (second, first) if z > 0 else (first, second)
    means = f"{better.name} {better.mean:.2f}, {other.name} {other.mean:.2f}"
    needed = _needed(gap, first.variance + second.variance, significant_below)
    if min(first.count, second.count) < LEAST_VALUES:
        note = f"Too early to say: each needs at least {LEAST_VALUES} ratings ({means})."
        return Comparison(z, p_value, False, note, needed=max(LEAST_VALUES, needed or 0))
    return _told(z, p_value, significant_below, better.name, means, needed)


def _told(z: float, p_value: float, below: float, better: str, figures: str, needed: int | None) -> Comparison:
    if p_value >= below:
        note = (
            "No difference to speak of: chance alone shows one like it in "
            f"{p_value:.0%} of such experiments ({figures})."
        )
        return Comparison(z, p_value, False, note, needed=needed)
    chance = f"{p_value:.1%}" if p_value >= 0.001 else "less than 0.1%"
    note = f"{better} is better: chance alone shows this in {chance} ({figures})."
    return Comparison(z, p_value, True, note, better, needed)


def _needed(gap: float, variances: float, significant_below: float) -> int | None:
    """How many each arm needs, so that a gap like this is found with `POWER`. Source: NIST e-Handbook, 7.2.2.2."""
    if not gap:
        return None
    reach = _NORMAL.inv_cdf(1 - significant_below / 2) + _NORMAL.inv_cdf(POWER)
    ratio = reach / gap
    return ceil(min(max(1.0, variances * ratio * ratio), MOST_NEEDED)) if variances else 1


def _needed_of_each(first: Arm, second: Arm, needed: int | None) -> int | None:
    """`needed`, but enough for `LEAST_OF_EACH` of the rarer outcome, as rare as it has been in both arms together."""
    successes, calls = first.successes + second.successes, first.calls + second.calls
    rarer = min(successes, calls - successes)
    return max(ceil(LEAST_OF_EACH * calls / rarer), needed or 0) if rarer else None
