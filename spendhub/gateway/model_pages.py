"""How a page of a list of models is asked for, in the dialects whose lists come in pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routing.model_facts import ModelFacts
from spendhub.api.queries import InvalidQuery

# No number of models has more digits.
_MOST_DIGITS = 9


def number_in(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of 0 or more, None when absent or empty. Raises InvalidQuery for anything else."""
    said = query.get(name)
    if not said:
        return None
    if not (said.isascii() and said.isdigit()) or len(said) > _MOST_DIGITS:
        raise InvalidQuery(f"{name} must be a whole number, not {said[:40]!r}", field=name)
    return int(said)


def place_of(models: Sequence[ModelFacts], model_name: str, field: str) -> int:
    """Where the model of that name stands in the list. Raises InvalidQuery, about `field`, where there is none."""
    for place, model in enumerate(models):
        if model.name == model_name:
            return place
    raise InvalidQuery(f"{field} names no model of this list: {model_name[:80]!r}", field=field)
