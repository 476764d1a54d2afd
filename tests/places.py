"""Places in a JSON value, for tests that put something odd into each of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Place = tuple[Any, ...]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where something stands in a JSON value."""
    if place:
        yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*place, key))


def copy_to_change(value: Any, place: Place) -> tuple[Any, Any]:
    """A copy of the value, and what the place is in: its last step leads from there."""
    found = copy.deepcopy(value)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    return found, inner
