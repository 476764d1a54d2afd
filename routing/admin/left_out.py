"""Models that fell out, told by reason: one that differs from model to model in its numbers alone is told once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from routing.key_choice import NO_VENDOR_KEY
from routing.requirements import FellOut, Hurdle

# Amounts, sizes and days; not what belongs to a name, such as eu-west-1 or p95.
_NUMBER = re.compile(r"(?<![\w.,-])\d+(?:[-.,]\d+)*(?![\w-])")
_DIFFERS = "…"
# All others for want of words begin with the name of a field, which stays as the client writes it.
_WORDS_OF_OURS = ("it is of another dialect", "embeddings of ")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A reason as a sentence begins, and the models it is true of, each with its own numbers where those differ.
    `wants_key`: a vendor key would help."""

    reason: str
    models: tuple[str, ...]
    wants_key: bool = False


def by_reason(fell_out: Iterable[FellOut]) -> list[LeftOut]:
    """The models by reason, in the order in which the reasons first came; those for which no call at all can be made
    come last, for they say nothing of this one."""
    alike: dict[str, list[FellOut]] = {}
    for each in sorted(fell_out, key=lambda each: each.hurdle is Hurdle.CALLED_AT_ALL):
        alike.setdefault(_NUMBER.sub(_DIFFERS, each.reason), []).append(each)
    return [_told_once(each) for each in alike.values()]


def _told_once(alike: list[FellOut]) -> LeftOut:
    numbers = [_NUMBER.findall(each.reason) for each in alike]
    differs = [len(set(column)) > 1 for column in zip(*numbers, strict=True)]
    own = [[number for number, is_own in zip(row, differs, strict=True) if is_own] for row in numbers]
    shown = iter([_DIFFERS if is_own else number for number, is_own in zip(numbers[0], differs, strict=True)])
    reason = _NUMBER.sub(lambda _: next(shown), alike[0].reason)
    models = (f"{each.model} ({', '.join(row)})" if row else each.model for each, row in zip(alike, own, strict=True))
    is_of_a_field = alike[0].hurdle is Hurdle.WORDS and not reason.startswith(_WORDS_OF_OURS)
    begun = reason if is_of_a_field else f"{reason[:1].upper()}{reason[1:]}"
    return LeftOut(begun, tuple(models), NO_VENDOR_KEY in reason)
