"""Reads a route's options: each is named, typed and bounded, and what is wrong is said precisely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routing.errors import InvalidRoute

MOST_NAMES = 50


class UnknownOption(InvalidRoute):
    """A strategy was given options that it does not have."""


class OptionsReader:
    """Takes the options of one strategy one by one; `done` refuses what nobody took. All raise InvalidRoute."""

    def __init__(self, owner: str, given: Mapping[str, Any]) -> None:
        self._owner = owner
        self._given = dict(given)
        self._known: list[str] = []

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """A number between `least` and `most`, both inclusive."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise self.wrong(name, f"must be a number from {least:g} to {most:g}", value)
        return float(value)

    def whole(self, name: str, default: int | None, *, least: int, most: int) -> int | None:
        """A whole number between `least` and `most`, both inclusive."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(name, f"must be a whole number from {least} to {most}", value)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false", value)
        return value

    def word(self, name: str, default: str, *, among: Sequence[str] = ()) -> str:
        """A short text, one of `among` where given."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value or len(value) > 120 or not value.isprintable():
            raise self.wrong(name, "must be a word of 1 to 120 printable characters", value)
        if among and value not in among:
            raise self.wrong(name, f"must be one of {', '.join(among)}", value)
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """A list of distinct words; () when absent."""
        value = self._take(name)
        return () if value is None else self._words(name, value)

    def names_by_word(self, name: str, *, among: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
        """An object that gives each word a list of names; a single name may stand for a list of one."""
        value = self._take(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or len(value) > MOST_NAMES:
            raise self.wrong(name, 'must be an object such as {"code": ["gpt-5"]}', value)
        found = {}
        for word, names in value.items():
            if among and word not in among:
                raise InvalidRoute(
                    f"{self._owner}: {name}: {str(word)[:40]!r} is none of {', '.join(among)}", field=name
                )
            found[str(word)] = self._words(f"{name}.{word}", [names] if isinstance(names, str) else names)
        return found

    def shares(self, name: str) -> dict[str, float]:
        """An object that gives each name a share above 0; {} when absent."""
        value = self._take(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not 1 <= len(value) <= MOST_NAMES:
            raise self.wrong(name, 'must be an object such as {"gpt-5": 0.9, "gpt-5-mini": 0.1}', value)
        for word, share in value.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
                raise self.wrong(f"{name}.{str(word)[:60]}", "must be a share above 0, up to 1", share)
        return {str(word): float(share) for word, share in value.items()}

    def money(self, name: str) -> Any:
        """What stands there for an amount, as it is; None when absent."""
        return self._take(name)

    def done(self) -> None:
        """Refuses options that were not taken."""
        if self._given:
            unknown = sorted(str(name)[:60] for name in self._given)
            named = ", ".join(map(repr, unknown[:MOST_NAMES]))
            known = ", ".join(sorted(self._known)) or "none of its own"
            word = "option" if len(unknown) == 1 else "options"
            raise UnknownOption(f"{self._owner} has no {word} {named}; it has {known}", field=unknown[0])

    def wrong(self, name: str, expected: str, seen: Any) -> InvalidRoute:
        """The error for one option."""
        return InvalidRoute(f"{self._owner}: {name} {expected}, not {str(seen)[:60]!r}", field=name)

    def _take(self, name: str) -> Any:
        self._known.append(name)
        return self._given.pop(name, None)

    def _words(self, name: str, value: Any) -> tuple[str, ...]:
        is_list = isinstance(value, (list, tuple)) and len(value) <= MOST_NAMES
        if not is_list or not all(
            isinstance(word, str) and word.isprintable() and 0 < len(word) <= 120 for word in value
        ):
            raise self.wrong(name, f"must be a list of at most {MOST_NAMES} names", value)
        return tuple(dict.fromkeys(value))
