"""Fields of a request that no other vendor has a word for: refused by their place, wherever they stand.

A client must not be answered as if it had not said what it said. Each reader lists the fields that it reads, and those
that change no answer; docs/gateway.md, "Across dialects", has the second ones. What says nothing is no wish: SDKs write
down what a model has said with all their fields, most of them empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from routing.conversation import NotTranslatable

TOWARDS = "another dialect"


def refuse_others(given: Mapping[str, Any], known: Collection[str], place: str) -> None:
    """Raises NotTranslatable for the first field of `given`, which stands at `place`, that says something and is not
    `known`."""
    for name, value in given.items():
        if name not in known and value is not None and value is not False and value not in ("", [], {}):
            raise NotTranslatable(f"{place}.{name[:40]}", TOWARDS)
