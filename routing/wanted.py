"""What a call wants of a model: what its request shows, and what its caller declares beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from routing.extras import NO_EXTRAS, Extras
from routing.model_facts import ModelFacts
from routing.tokens import within
from routing.unusual import NOTHING_UNUSUAL, Unusual
from routing.upstreams.base import CHAT, Wire
from spendhub.tenants.attribution import NOBODY, Attribution

NOTHING_NEEDED: frozenset[str] = frozenset()
QUALITIES = ("economy", "standard", "premium")
# No call can be allowed, or expected, to take longer: an hour.
MOST_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Declared:
    """What the caller demands of a model beyond what the request itself shows. None and empty: nothing."""

    capabilities: frozenset[str] = NOTHING_NEEDED
    min_quality: str | None = None  # economy, standard or premium
    max_cost_nano_usd: int | None = None
    max_latency_ms: int | None = None
    timeout_ms: int | None = None
    region: str | None = None
    allow: frozenset[str] = NOTHING_NEEDED
    deny: frozenset[str] = NOTHING_NEEDED
    strategy: str | None = None
    user_tier: str | None = None
    confidence_threshold: float | None = None

    def restricts(self) -> bool:
        """Whether some model could fall out for what is declared."""
        return bool(
            self.capabilities
            or self.allow
            or self.deny
            or self.min_quality
            or self.region
            or self.max_cost_nano_usd is not None
            or self.max_latency_ms is not None
        )


def nothing_packed() -> int:
    """Of a request without documents, sounds and films."""
    return 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one call wants of a model. `needs()` reads capabilities from the request (tools, vision, files, audio,
    json, reasoning, streaming, embeddings) and what it asks for beside words (choices, logprobs, speech), `unusual()`
    what many models refuse; `text()` gives its words, for strategies that weigh them: all three are asked only where a
    choice is made. `max_output_tokens` is over all `choices`, None where the client set no limit.

    `expected_output_of` says how much output a model is likely to give; without it the limit counts, or
    SPENDHUB_DEFAULT_OUTPUT_TOKENS per choice. `known_lengths` has models by name whose answers have been measured, the
    most telling group first: see `at_like_lengths`. `budget_share_left` is how much of the tightest budget is left,
    0..1 (None: no budget applies). `extras` may be billed beside. `untranslatable` is a field of the request that was
    found to have no words elsewhere: it is only for models to which it passes as it is. `packed_tokens()` is how many
    of `input_tokens` are documents, sounds and films: asked at each model without room for all, so it is to remember.
    """

    tenant_id: int
    name: str
    now: datetime
    unpriced_models: str
    kind: str = "chat"  # as Model.kind
    wire: Wire = CHAT
    input_tokens: int = 0
    packed_tokens: Callable[[], int] = nothing_packed
    max_output_tokens: int | None = None
    attribution: Attribution = NOBODY
    declared: Declared = field(default_factory=Declared)
    needs: Callable[[], frozenset[str]] = lambda: NOTHING_NEEDED
    unusual: Callable[[], Unusual] = lambda: NOTHING_UNUSUAL
    text: Callable[[], str] = lambda: ""
    choices: int = 1
    expected_output_of: Callable[[ModelFacts], int] | None = None
    known_lengths: Sequence[Mapping[str, int]] = ()
    budget_share_left: Callable[[], float | None] | float | None = None
    extras: Extras = NO_EXTRAS
    untranslatable: str = ""

    def input_tokens_at(self, model: ModelFacts) -> int:
        """The input that `model` is expected to read: what is packed takes no more than its context leaves, as where
        money is held (docs/pricing.md, "Counting tokens without the vendor")."""
        return within(model.context_tokens, self.input_tokens, self.packed_tokens)

    def output_tokens_of(self, model: ModelFacts) -> int:
        """The output that is expected of `model`, over all choices."""
        if self.expected_output_of is not None:
            return self.expected_output_of(model)
        expected = self.max_output_tokens
        if expected is None:
            expected = settings.DEFAULT_OUTPUT_TOKENS * self.choices
        most = model.max_output_tokens
        return expected if most is None else min(expected, most * self.choices)

    def share_left(self) -> float | None:
        """How much of the tightest budget is left, 0..1; None where none applies or nobody has said."""
        share = self.budget_share_left
        return share() if callable(share) else share
