"""Vendors that keep failing are left alone for a while: one circuit breaker per provider and model.

Closed: calls pass. Five failures in a row open it: calls go elsewhere, or are refused at once. After
`open_seconds` it is half open: up to three calls at a time try the vendor (of one process: probe_claims.py), three
successes close it, one failure opens it again. docs/routing.md, "Circuit breakers".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from django.conf import settings

from routing import hooks
from routing.model_facts import ModelFacts

logger = logging.getLogger(__name__)

State = Literal["closed", "open", "half-open"]
PROBES = 3


@dataclass(frozen=True, slots=True)
class Circuit:
    """One breaker as it stands. `changed_at` is epoch seconds, by which the newest word of several processes wins."""

    state: State = "closed"
    failures: int = 0
    successes: int = 0
    in_flight: int = 0
    changed_at: float = 0.0
    is_forced: bool = False

    def admits(self, now: float, open_seconds: float) -> bool:
        """Whether a call may be tried now."""
        if self.state == "closed":
            return True
        if self.state == "open":
            return not self.is_forced and now - self.changed_at >= open_seconds
        return self.in_flight < PROBES

    def tried(self, now: float) -> Circuit:
        """After a call was admitted."""
        if self.state == "closed":
            return self
        if self.state == "open":
            return Circuit("half-open", in_flight=1, changed_at=now)
        return replace(self, in_flight=self.in_flight + 1)

    def succeeded(self, now: float) -> Circuit:
        """After a call was answered."""
        if self.state == "closed":
            return replace(self, failures=0) if self.failures else self
        if self.state == "open":
            return self  # begun before it opened
        if self.successes + 1 >= PROBES:
            return Circuit(changed_at=now)
        return replace(self, successes=self.successes + 1, in_flight=max(0, self.in_flight - 1))

    def failed(self, now: float, failures_to_open: int) -> Circuit:
        """After a call failed for a reason of the vendor's."""
        if self.state == "open":
            return self
        if self.state == "half-open" or self.failures + 1 >= failures_to_open:
            return Circuit("open", failures=self.failures + 1, changed_at=now)
        return replace(self, failures=self.failures + 1)

    def let_go(self) -> Circuit:
        """After a call that says nothing of the vendor's health."""
        return replace(self, in_flight=max(0, self.in_flight - 1)) if self.state == "half-open" else self


class Breakers:
    """All breakers of this process, by "provider/model". Threads share it; `now` is epoch seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._circuits: dict[str, Circuit] = {}

    def admit(self, key: str, now: float) -> bool:
        """Whether a call may be tried now; an admitted one must be told of by `note_*` (see Trial)."""
        if key not in self._circuits:
            return True
        with self._lock:
            circuit = self._circuits[key]
            if not circuit.admits(now, settings.BREAKER_OPEN_SECONDS):
                return False
            tried = self._circuits[key] = circuit.tried(now)
        _tell_change(key, circuit, tried)
        return True

    def keeps_away(self, key: str, now: float) -> bool:
        """Whether a call would not be admitted now. Changes nothing."""
        circuit = self._circuits.get(key)
        return circuit is not None and not circuit.admits(now, settings.BREAKER_OPEN_SECONDS)

    def is_half_open(self, key: str) -> bool:
        """Whether the vendor is being tried again."""
        circuit = self._circuits.get(key)
        return circuit is not None and circuit.state == "half-open"

    def would_probe(self, key: str, now: float) -> bool:
        """Whether a call that is admitted now tries a vendor that has failed; see routing/probe_claims.py."""
        circuit = self._circuits.get(key)
        return circuit is not None and circuit.state != "closed" and circuit.admits(now, settings.BREAKER_OPEN_SECONDS)

    def note_success(self, key: str, now: float) -> None:
        """The vendor has answered."""
        if key in self._circuits:
            with self._lock:
                before = self._circuits[key]
                after = self._circuits[key] = before.succeeded(now)
            _tell_change(key, before, after)

    def note_failure(self, key: str, now: float) -> None:
        """The vendor has failed."""
        with self._lock:
            before = self._circuits.get(key, Circuit())
            after = self._circuits[key] = before.failed(now, settings.BREAKER_FAILURES)
        _tell_change(key, before, after)

    def note_nothing(self, key: str) -> None:
        """The call says nothing of the vendor's health: the client's own mistake, or it left."""
        if key in self._circuits:
            with self._lock:
                self._circuits[key] = self._circuits[key].let_go()

    def seconds_until_probe(self, key: str, now: float) -> int | None:
        """When a refused call is worth trying again; None for one that was opened by hand."""
        circuit = self._circuits.get(key, Circuit())
        if circuit.is_forced:
            return None
        return max(1, int(circuit.changed_at + settings.BREAKER_OPEN_SECONDS - now) + 1)

    def force(self, key: str, state: State, now: float) -> None:
        """Opens or closes one by hand; an opened one stays open until it is closed by hand."""
        with self._lock:
            before = self._circuits.get(key, Circuit())
            after = self._circuits[key] = Circuit(state, changed_at=now, is_forced=state == "open")
        _tell_change(key, before, after)

    def standing(self) -> Mapping[str, Circuit]:
        """Every breaker that has something to tell."""
        with self._lock:
            return dict(self._circuits)

    def adopt(self, key: str, state: State, changed_at: float, *, is_forced: bool = False, failures: int = 0) -> None:
        """Takes over what another process has told, where it is newer."""
        with self._lock:
            own = self._circuits.get(key, Circuit())
            # What is closed, or half open, here as there keeps its own counts.
            is_news = state == "open" or state != own.state
            if changed_at > own.changed_at and is_news:
                self._circuits[key] = Circuit(state, failures, changed_at=changed_at, is_forced=is_forced)

    def forget(self) -> None:
        """All closed. For tests."""
        with self._lock:
            self._circuits.clear()


def _tell_change(key: str, before: Circuit, after: Circuit) -> None:
    """Logs it, and shows it to the hooks, where the state has changed: in the process in which it did, and once."""
    if before.state == after.state:
        return
    if after.state == "open":
        logger.warning("breaker of %s opened %s", key, "by hand" if after.is_forced else f"at failure {after.failures}")
    else:
        logger.info("breaker of %s is %s", key, after.state)
    if hooks.BREAKER_CHANGED:
        hooks.run_breaker_changed(key, before.state, after.state)


class Trial:
    """A call that a breaker has just admitted, until it is known what it says of the vendor's health.

    The first word counts, later ones are not heard: whoever leaves a call may say `tells_nothing` without asking
    whether it has told something. Of a breaker that is half open by now only its own probes are heard: what was begun
    before it opened may end minutes later.
    """

    __slots__ = ("_breakers", "_is_open", "_is_probe", "_key")

    def __init__(self, breakers: Breakers, key: str) -> None:
        self._breakers, self._key = breakers, key
        self._is_probe = breakers.is_half_open(key)
        self._is_open = True

    def succeeded(self, now: float) -> None:
        """The vendor's answer has come to its end."""
        if self._may_tell():
            self._breakers.note_success(self._key, now)

    def failed(self, now: float) -> None:
        """The vendor has failed, or broken off."""
        if self._may_tell():
            self._breakers.note_failure(self._key, now)

    def tells_nothing(self) -> None:
        """The call says nothing of the vendor's health: the client's own mistake, or its time was over, or it left."""
        if self._may_tell():
            self._breakers.note_nothing(self._key)

    def _may_tell(self) -> bool:
        is_first, self._is_open = self._is_open, False
        return is_first and (self._is_probe or not self._breakers.is_half_open(self._key))


def breaker_key_of(model: ModelFacts) -> str:
    """Which breaker a model has: "provider/model". What a tenant has entered has one of its own, so that its broken
    server cuts nobody else off, and nobody learns of its names."""
    owner = model.owner_id
    return f"{model.provider.name}/{model.name}" if owner is None else f"{owner}:{model.provider.name}/{model.name}"


BREAKERS = Breakers()
