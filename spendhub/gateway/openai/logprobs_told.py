"""How likely the tokens of a translated answer were, as OpenAI's chats and responses tell it.

Source: OpenAI's API reference, "Chat completions" (`logprobs` of a choice); "Responses" (`logprobs` of an output text),
"Streaming events" (`response.output_text.delta`, whose tokens have no bytes).
"""

from __future__ import annotations

from typing import Any

from routing.logprobs import Likelihood, Logprobs, octets_of


def logprobs_object(logprobs: Logprobs, *, is_refusal: bool = False) -> dict[str, Any] | None:
    """What stands in a choice of a chat; None where there is nothing to tell."""
    if not logprobs:
        return None
    told = told_logprobs(logprobs)
    return {"content": None if is_refusal else told, "refusal": told if is_refusal else None}


def told_logprobs(logprobs: Logprobs) -> list[dict[str, Any]]:
    """The tokens, each with the likeliest ones in its place."""
    return [{**_told(each.chosen), "top_logprobs": [_told(other) for other in each.top]} for each in logprobs]


def logprobs_of_event(logprobs: Logprobs) -> list[dict[str, Any]]:
    """The tokens as a stream of a response tells them."""
    return [{**_briefly(each.chosen), "top_logprobs": [_briefly(other) for other in each.top]} for each in logprobs]


def _told(likelihood: Likelihood) -> dict[str, Any]:
    return {"token": likelihood.token, "bytes": octets_of(likelihood), "logprob": likelihood.logprob}


def _briefly(likelihood: Likelihood) -> dict[str, Any]:
    return {"token": likelihood.token, "logprob": likelihood.logprob}
