"""What the demo account's people thought of some of its sample calls. Pure: the same calls, the same opinions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from telemetry.drafts import SpanDraft

SEED = 20_27
RATED_OF = 16  # one call of so many is rated
LEAST_LIKED, MOST_LIKED = 0.72, 0.95
LEAST_SCORE, MOST_SCORE = 3.2, 4.7


def sample_opinions(drafts: Sequence[SpanDraft]) -> Iterator[tuple[SpanDraft, bool, float]]:
    """Each rated call, whether it was liked, and its score of 5. Dearer models are liked a little more."""
    dice = random.Random(SEED)
    standing = _standing(drafts)
    for draft in drafts:
        if draft.status != "ok" or dice.randrange(RATED_OF):
            continue
        place = standing[draft.model]
        is_liked = dice.random() < LEAST_LIKED + place * (MOST_LIKED - LEAST_LIKED)
        usual = LEAST_SCORE + place * (MOST_SCORE - LEAST_SCORE)
        yield draft, is_liked, round(min(5.0, max(0.0, dice.gauss(usual if is_liked else usual - 1.5, 0.4))), 1)


def _standing(drafts: Sequence[SpanDraft]) -> dict[str, float]:
    """Each model's place by what its calls cost on average: 0 for the cheapest, 1 for the dearest."""
    costs: dict[str, list[int]] = defaultdict(list)
    for draft in drafts:
        costs[draft.model].append(draft.cost_nano_usd)
    ordered = sorted(costs, key=lambda model: (sum(costs[model]) / len(costs[model]), model))
    return {model: place / max(1, len(ordered) - 1) for place, model in enumerate(ordered)}
