"""How likely OpenAI's chats say that their tokens were. Source: OpenAI's API reference, "Chat completions", `logprobs`.

Compatible vendors write the same; some leave out `bytes` or `top_logprobs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.logprobs import UNLIKELIEST, Likelihood, Logprobs, TokenLogprob


def logprobs_in(choice: Mapping[str, Any], name: str) -> Logprobs:
    """Those of a choice's `content` or `refusal`, whole or of one event of a stream; () for none."""
    told = choice.get("logprobs")
    tokens = told.get(name) if isinstance(told, dict) else None
    if not isinstance(tokens, list):
        return ()
    return tuple(_token(token) for token in tokens if isinstance(token, dict))


def _token(token: Mapping[str, Any]) -> TokenLogprob:
    top = token.get("top_logprobs")
    others = top if isinstance(top, list) else ()
    return TokenLogprob(_likelihood(token), tuple(_likelihood(each) for each in others if isinstance(each, dict)))


def _likelihood(token: Mapping[str, Any]) -> Likelihood:
    said, octets = token.get("logprob"), token.get("bytes")
    logprob = float(said) if isinstance(said, (int, float)) else UNLIKELIEST
    if not (isinstance(octets, list) and all(isinstance(each, int) for each in octets)):
        octets = None
    return Likelihood(str(token.get("token") or ""), logprob, None if octets is None else tuple(octets))
