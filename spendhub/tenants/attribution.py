"""Who and what a call is for: six optional keys, the same words everywhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields

from spendhub.errors import Invalid

DIMENSIONS = ("org", "user", "agent", "feature", "session", "task")
MAX_KEY_LENGTH = 200


class InvalidAttribution(Invalid):
    """An attribution has a dimension we do not know, or a key that is no plain text."""

    code = "invalid_attribution"


def clean_key(dimension: str, value: object) -> str:
    """The key for one dimension, trimmed. Raises InvalidAttribution for an empty, long or unprintable one."""
    if not isinstance(value, str):
        raise InvalidAttribution(f"{dimension} must be text", field=dimension)
    key = value.strip()
    if not key or len(key) > MAX_KEY_LENGTH:
        raise InvalidAttribution(f"{dimension} must have 1 to {MAX_KEY_LENGTH} characters", field=dimension)
    # Control characters, lone surrogates and unassigned code points cannot be stored or shown safely.
    # What Python calls printable has none of them.
    if not key.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in key):
        raise InvalidAttribution(f"{dimension} has characters that are not printable", field=dimension)
    if key == "*":
        raise InvalidAttribution(f"{dimension} may not be '*', which stands for every key", field=dimension)
    return key


@dataclass(frozen=True, slots=True)
class Attribution:
    """Keys by dimension; None where the caller said nothing."""

    org: str | None = None
    user: str | None = None
    agent: str | None = None
    feature: str | None = None
    session: str | None = None
    task: str | None = None

    @classmethod
    def parse(cls, given: Mapping[str, object] | None) -> Attribution:
        """From a mapping as it came over the wire; null and "" are the same as absent.
        Raises InvalidAttribution naming the dimension."""
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise InvalidAttribution("attribution must be an object", field="attribution")
        unknown = [str(name)[:40] for name in given if name not in DIMENSIONS]
        if unknown:
            raise InvalidAttribution(
                f"attribution has no dimension {unknown[0]!r}; it has {', '.join(DIMENSIONS)}", field=unknown[0]
            )
        return cls(**{name: clean_key(name, value) for name, value in given.items() if value not in (None, "")})

    def over(self, default: Attribution) -> Attribution:
        """These keys, and those of `default` where these say nothing."""
        return Attribution(*(getattr(self, name) or getattr(default, name) for name in DIMENSIONS))

    def as_dict(self) -> dict[str, str]:
        """Only the dimensions that have a key."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


NOBODY = Attribution()
