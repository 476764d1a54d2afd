"""A request that somebody pastes to see which model would answer it: in whichever client's words it is written.

What clients' bodies mean is the gateway's to know. It hands its reader in when it starts (spendhub/apps.py), so that a
pasted request is read as the same call would be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from routing.extras import Extras
from routing.model_facts import ModelFacts
from routing.wanted import Wanted
from spendhub.tenants.attribution import NOBODY, Attribution
from spendhub.tenants.snapshot import TenantFacts


@dataclass(frozen=True, slots=True)
class PastedRequest:
    """A body, and what is said beside it, which wins over what the body says. `prompt` are words that come last.

    `model` and `kind` (as Model.kind) may be "": as the body says. `max_output_tokens` is of each of its answers."""

    tenant: TenantFacts
    body: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    model: str = ""
    kind: str = ""
    input_tokens: int | None = None
    max_output_tokens: int | None = None
    attribution: Attribution = NOBODY


def _can_be_said(model: ModelFacts) -> None:
    """To whichever model."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What the request wants of a model, and what it may be billed beside tokens at a certain one. `check_can_be_said`
    raises what a call of the model would be refused with before anything is sent, for want of words: NotTranslatable,
    or Invalid for what nobody could understand. It needs no vendor key; how long it takes grows with `size`, which is
    how many values the body has, a long text counting as several."""

    wanted: Wanted
    extras_at: Callable[[ModelFacts], Extras]
    check_can_be_said: Callable[[ModelFacts], None] = _can_be_said
    size: int = 1


Reader = Callable[[PastedRequest], ReadRequest]
_reader: Reader | None = None


def set_reader(reader: Reader) -> None:
    """Whoever knows what clients write hands in how it is read."""
    global _reader
    _reader = reader


def read_pasted(pasted: PastedRequest) -> ReadRequest:
    """The request, as the same call would be read. Raises the Invalid that the call would be refused with."""
    assert _reader is not None, "nobody has handed in how requests are read"
    return _reader(pasted)
