"""A dialect of one's own, for a vendor that speaks none of those that are built in: one class and one registration."""

from __future__ import annotations

from routing.models.provider import MOST_DIALECT_CHARACTERS, OWN_DIALECTS, Provider
from routing.upstreams.base import Dialect
from routing.upstreams.registry import DIALECTS


def register(dialect: Dialect, title: str) -> None:
    """Makes it known under its name: from then on a provider may be said to speak it, called `title` in the admin.

    Raises ValueError for a name that is built in, or longer than fits."""
    if dialect.name in Provider.Dialect.values or not 0 < len(dialect.name) <= MOST_DIALECT_CHARACTERS:
        raise ValueError(
            f"{dialect.name!r} is built in, or not between 1 and {MOST_DIALECT_CHARACTERS} characters long"
        )
    DIALECTS[dialect.name] = dialect
    OWN_DIALECTS[dialect.name] = title
