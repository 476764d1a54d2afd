"""What a caller demands of the model and of the call beside the request itself: in `x-spendhub-*` headers, or in
the body's own object `spendhub` (which no vendor is shown). docs/gateway.md, "What a call may demand"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routing.snapshot import KNOWN_CAPABILITIES
from routing.strategies.judgment_based import TIERS
from routing.wanted import MOST_MS, Declared
from spendhub.errors import InvalidMoney
from spendhub.gateway.exchange import Exchange
from spendhub.gateway.our_headers import DEMAND_HEADERS, DEMANDS, WAIT, InvalidDemand
from spendhub.money import parse_usd

MAX_WAIT_SECONDS = 60.0
MAX_WORDS = 50
_QUALITIES = ("economy", "standard", "premium")


@dataclass(frozen=True, slots=True)
class Demands:
    """What is demanded of the model, and how long the caller waits for money that is merely held."""

    of_model: Declared
    wait_seconds: float = 0.0


NO_DEMANDS = Demands(Declared())


def demands_of(exchange: Exchange, body: Mapping[str, Any]) -> Demands:
    """The demands of one call; a header wins over the body. Raises InvalidDemand."""
    headers = exchange.headers
    given: dict[str, Any] = {}
    inside = body.get("spendhub")
    if inside is not None:
        if not isinstance(inside, Mapping):
            raise InvalidDemand("spendhub must be an object", field="spendhub")
        unknown = [str(name) for name in inside if name not in DEMANDS]
        if unknown:
            raise InvalidDemand(f"spendhub has no field {unknown[0][:40]!r}", field="spendhub")
        given.update({name: value for name, value in inside.items() if value is not None})
    for name, header in DEMAND_HEADERS:
        if header in headers:
            given[name] = exchange.header(header)
    if WAIT in headers:
        given["wait_seconds"] = exchange.header(WAIT)
    return _checked(given) if given else NO_DEMANDS


def _checked(given: Mapping[str, Any]) -> Demands:
    quality = _text(given, "min_quality")
    if quality is not None and quality not in _QUALITIES:
        raise InvalidDemand(f"min_quality is one of {', '.join(_QUALITIES)}", field="min_quality")
    capabilities = _words(given, "capabilities")
    unknown = sorted(capabilities.difference(KNOWN_CAPABILITIES))
    if unknown:
        raise InvalidDemand(
            f"there is no capability {unknown[0][:40]!r}; there are {', '.join(KNOWN_CAPABILITIES)}",
            field="capabilities",
        )
    tier = _text(given, "user_tier")
    if tier is not None and tier not in TIERS:
        raise InvalidDemand(f"user_tier is one of {', '.join(TIERS)}", field="user_tier")
    return Demands(
        Declared(
            capabilities=capabilities,
            min_quality=quality,
            max_cost_nano_usd=_money(given, "max_cost"),
            max_latency_ms=_whole(given, "max_latency_ms"),
            timeout_ms=_whole(given, "timeout_ms"),
            region=_text(given, "region"),
            allow=_some_words(given, "allow"),
            deny=_words(given, "deny"),
            strategy=_text(given, "strategy"),
            user_tier=tier,
            confidence_threshold=_number(given, "confidence_threshold", 1.0),
        ),
        wait_seconds=_number(given, "wait_seconds", MAX_WAIT_SECONDS) or 0.0,
    )


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 60 or not value.isprintable():
        raise InvalidDemand(f"{name} must be a short text", field=name)
    return value


def _words(given: Mapping[str, Any], name: str) -> frozenset[str]:
    value = given.get(name)
    if value is None:
        return frozenset()
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
    if not isinstance(words, list) or len(words) > MAX_WORDS or not all(isinstance(word, str) for word in words):
        raise InvalidDemand(f"{name} must be up to {MAX_WORDS} words with commas between them", field=name)
    return frozenset(word for word in words if word)


def _some_words(given: Mapping[str, Any], name: str) -> frozenset[str]:
    words = _words(given, name)
    if given.get(name) is not None and not words:
        # Read as no list at all, it would let every model answer.
        raise InvalidDemand(f"{name} must have a word, or not be there", field=name)
    return words


def _money(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    try:
        return None if value is None else parse_usd(value)
    except InvalidMoney as error:
        raise InvalidDemand(f"{name}: {error.message}", field=name) from None


def _whole(given: Mapping[str, Any], name: str) -> int | None:
    found = _number(given, name, MOST_MS)
    if found is not None and (found != int(found) or found < 1):
        raise InvalidDemand(f"{name} must be a whole number from 1 to {MOST_MS}", field=name)
    return None if found is None else int(found)


def _number(given: Mapping[str, Any], name: str, at_most: float) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= at_most:
        raise InvalidDemand(f"{name} must be a number from 0 to {at_most:g}", field=name)
    return number
