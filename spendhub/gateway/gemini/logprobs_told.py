"""How likely the tokens of a translated answer were, as Google tells it of a candidate.

Source: ai.google.dev API reference, "Candidate" (`avgLogprobs`), "LogprobsResult". There are no numbers of tokens:
they are another vendor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routing.logprobs import Likelihood, Logprobs, TokenLogprob


def logprobs_told(logprobs: Logprobs) -> dict[str, Any]:
    """The candidate's field `logprobsResult`; no field where there is nothing to tell."""
    if not logprobs:
        return {}
    told: dict[str, Any] = {
        "chosenCandidates": [_told(each.chosen) for each in logprobs],
        "logProbabilitySum": _sum(logprobs),
    }
    if any(each.top for each in logprobs):
        told["topCandidates"] = [{"candidates": [_told(other) for other in each.top]} for each in logprobs]
    return {"logprobsResult": told}


def average_told(logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    """The candidate's field `avgLogprobs`, over all of its tokens; no field for none."""
    return {"avgLogprobs": _sum(logprobs) / len(logprobs)} if logprobs else {}


def _sum(logprobs: Sequence[TokenLogprob]) -> float:
    return sum(each.chosen.logprob for each in logprobs)


def _told(likelihood: Likelihood) -> dict[str, Any]:
    return {"token": likelihood.token, "logProbability": likelihood.logprob}
