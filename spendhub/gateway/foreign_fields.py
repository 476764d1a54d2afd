"""Fields of a request that no other vendor has a word for: refused by their place, wherever they stand.

A client must not be answered as if it had not said what it said. Each reader lists the fields that it reads, and those
that change no answer; docs/gateway.md, "Across dialects", has the second ones. What says nothing is no wish: SDKs write
down what a model has said with all their fields, most of them empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from routing.conversation import NotTranslatable

TOWARDS = "another dialect"
# What a client writes for each word by which a vendor may refuse a field (see NotTranslatable): where it may stand.
OwnNames = Mapping[str, Sequence[str]]


def refuse_others(given: Mapping[str, Any], known: Collection[str], place: str) -> None:
    """Raises NotTranslatable for the first field of `given`, which stands at `place`, that says something and is not
    `known`."""
    for name, value in given.items():
        if name not in known and value is not None and value is not False and value not in ("", [], {}):
            raise NotTranslatable(f"{place}.{name[:40]}", TOWARDS)


def own_name(word: str, names: OwnNames, body: Mapping[str, Any]) -> str:
    """What the client that sent `body` calls `word`: of several `names` the first that says something there."""
    places = names.get(word, (word,))
    return next((place for place in places if _value_at(place, body)), places[0])


def _value_at(place: str, body: Mapping[str, Any]) -> Any:
    value: Any = body
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
