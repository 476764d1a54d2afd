"""How likely Google says that the tokens of a candidate were, whole or of one event of a stream.

Source: ai.google.dev API reference, "LogprobsResult": `chosenCandidates` has one for each step, `topCandidates` a
sorted list of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from routing.logprobs import UNLIKELIEST, Likelihood, Logprobs, TokenLogprob
from routing.upstreams.json_objects import objects_among


def logprobs_in(candidate: Mapping[str, Any]) -> Logprobs:
    """Those of a candidate; () where it says none."""
    told = candidate.get("logprobsResult")
    if not isinstance(told, dict):
        return ()
    chosen = list(objects_among(told.get("chosenCandidates")))
    top = list(objects_among(told.get("topCandidates")))[: len(chosen)]
    return tuple(
        TokenLogprob(_likelihood(token), tuple(map(_likelihood, objects_among(others.get("candidates")))))
        for token, others in zip_longest(chosen, top, fillvalue=dict[str, Any]())
    )


def _likelihood(candidate: Mapping[str, Any]) -> Likelihood:
    # A number that JSON has no word for is written as a text here: "-Infinity".
    said = candidate.get("logProbability", 0.0)
    return Likelihood(str(candidate.get("token") or ""), float(said) if isinstance(said, (int, float)) else UNLIKELIEST)
