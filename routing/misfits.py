"""Why no model fits, in one sentence: what the one falls out for that comes nearest."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from routing.requirements import FellOut, Hurdle

# Of the models that fell out, so many are told by name beside an answer.
MOST_TOLD = 3


def why_none_fits(fell_out: Sequence[FellOut]) -> str:
    """Of models that all fell out, which comes nearest, and what it falls out for."""
    if not fell_out:
        return "there is no model to choose from"
    nearest = _nearest(fell_out)
    if nearest.hurdle is Hurdle.CALLED_AT_ALL:
        return f"none can be called ({nearest.model}: {nearest.reason})"
    if len(fell_out) == 1:
        return f"there is only {nearest.model}, and {nearest.reason}"
    return f"{nearest.model} comes nearest, but {nearest.reason}"


def beside(names: Collection[str], fell_out: Sequence[FellOut]) -> str:
    """To go behind a strategy's own words that it cannot choose: the nearest of the models that it was given by name
    and its reason. "" where some of them could have done it, or it was given none."""
    given = [each for each in fell_out if each.model in names]
    if not given or {each.model for each in given} != set(names):
        return ""
    nearest = _nearest(given)
    return f" ({nearest.model}: {nearest.reason})"


def nearest_in_words(fell_out: Sequence[FellOut]) -> str:
    """Of models that all fell out, the three that come nearest with their reasons, and how many more there are."""
    if not fell_out:
        return why_none_fits(fell_out)
    nearest = sorted(fell_out, key=_distance)
    told = ", ".join(f"{each.model} ({each.reason})" for each in nearest[:MOST_TOLD])
    more = len(nearest) - MOST_TOLD
    return f"{told} and {more} more" if more > 0 else told


def _nearest(fell_out: Sequence[FellOut]) -> FellOut:
    return min(fell_out, key=_distance)


def _distance(each: FellOut) -> tuple[int, int, str]:
    return (-each.hurdle, each.short, each.model)
