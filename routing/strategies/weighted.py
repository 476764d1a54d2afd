"""Calls shared out among models by weight, the same one for the same user or session: A/B experiments."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from routing.errors import InvalidRoute
from routing.strategies.base import Option, Ranked, Ranking, Strategy, Task
from routing.strategies.settings import OptionsReader
from spendhub.tenants.attribution import DIMENSIONS

SUM_MAY_DIFFER = Decimal("0.01")
STICKS_TO = ("session", "user", "task")


@dataclass(frozen=True, slots=True)
class WeightedSettings:
    """`split`: each model's share. `sticky_by`: the dimensions whose first key decides, so that it decides alike
    each time. `experiment` salts the draw, so that two experiments do not draw alike; "" is the route's name."""

    split: Mapping[str, float]
    sticky_by: tuple[str, ...] = STICKS_TO
    experiment: str = ""


class Weighted(Strategy):
    """Each session (else user, else task) draws one model, always the same; a call for nobody draws anew.

    When the drawn one cannot do the call, the others draw among themselves; whom they had drawn stays.
    """

    name = "weighted"
    summary = "Calls are shared out among models by weight, the same model for the same user: for experiments."
    options_in_words = {
        "split": "each model’s share of the calls; together 1",
        "sticky_by": "whose calls always draw the same model: the first of these that a call names; session, user, "
        "task unless said otherwise",
        "experiment": "what the experiment is called, if not as the route is; a new name draws anew",
    }
    example = '{"split": {"gpt-5": 0.9, "gpt-5-mini": 0.1}, "sticky_by": ["user"]}'

    def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> WeightedSettings:
        reader = OptionsReader(self.name, given)
        found = WeightedSettings(
            reader.shares("split"), reader.names("sticky_by") or STICKS_TO, reader.word("experiment", "")
        )
        reader.done()
        unknown = [name for name in found.sticky_by if name not in DIMENSIONS]
        if unknown:
            raise reader.wrong("sticky_by", f"must be of {', '.join(DIMENSIONS)}", unknown[0])
        check_split(found.split)
        strangers = [name for name in found.split if models and name not in models]
        if strangers:
            raise InvalidRoute(f"{self.name}: split: {strangers[0][:60]!r} is no candidate of the route", field="split")
        return found

    def names_in(self, settings: WeightedSettings) -> tuple[str, ...]:
        return tuple(settings.split)

    def candidates_in(self, settings: WeightedSettings) -> tuple[str, ...]:
        return tuple(sorted(settings.split))  # PostgreSQL keeps an object's fields in an order of its own

    def rank(self, options: Sequence[Option], task: Task, settings: WeightedSettings) -> Ranking:
        able = {option.name: option for option in options if option.name in settings.split}
        if not able:
            return Ranking((), "none of the models that calls are shared out among can do it", "share", 0.0)
        unit, who = key_of(task, settings.sticky_by)
        salt = settings.experiment or task.route
        first = drawn = draw(settings.split, place_of(salt, unit))
        if first not in able:
            shares = {name: share for name, share in settings.split.items() if name in able}
            drawn = draw(shares, place_of(f"{salt}/again", unit))
        others = sorted((name for name in able if name != drawn), key=lambda name: (-settings.split[name], name))
        ranked = tuple(Ranked(able[name], settings.split[name]) for name in (drawn, *others))
        reason = f"drawn by {who}" + ("" if first in able else f"; {first} was drawn first, and cannot do it")
        return Ranking(ranked, reason, "share", settings.split[drawn], facts={"experiment": salt, "arm": drawn})


def check_split(split: Mapping[str, float]) -> None:
    """Raises InvalidRoute unless the shares sum to 1, give or take 0.01."""
    if not split:
        raise InvalidRoute('weighted needs a split such as {"gpt-5": 0.9, "gpt-5-mini": 0.1}', field="split")
    total = sum((Decimal(str(share)) for share in split.values()), Decimal(0))
    if abs(total - 1) > SUM_MAY_DIFFER:
        raise InvalidRoute(f"Traffic split must sum to 1.0, got {total.normalize():f}", field="split")


def key_of(task: Task, sticky_by: Sequence[str]) -> tuple[str, str]:
    """What decides the draw, and how to say it: the first of the dimensions that has a key, else the very moment."""
    for dimension in sticky_by:
        key = getattr(task.wanted.attribution, dimension)
        if key is not None:
            return f"{task.wanted.tenant_id}/{dimension}/{key}", f"{dimension} {key}"
    return f"{task.wanted.tenant_id}/{task.wanted.now.isoformat()}", "chance, for nobody was named"


def place_of(salt: str, unit: str) -> float:
    """Where a unit stands between 0 and 1: evenly spread over units, and always the same for the same one."""
    digest = hashlib.blake2b(f"{salt}\0{unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def draw(split: Mapping[str, float], place: float) -> str:
    """The name in whose part of the line from 0 to 1 `place` lies, the names in alphabetical order."""
    names = sorted(split)
    mark = place * sum(split.values())
    for name in names:
        mark -= split[name]
        if mark < 0:
            return name
    return names[-1]
