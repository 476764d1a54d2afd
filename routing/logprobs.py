"""How likely a model held each token of its answer, in no vendor's words.

OpenAI's chats and responses and Google's contents can say it, Anthropic and Bedrock cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# What OpenAI says of a token that is too unlikely to be told apart; Google may say that it is infinitely unlikely.
UNLIKELIEST = -9_999.0


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A token, and the natural logarithm of its probability. `octets` are the token's own bytes, of which a character
    may need more than one token's; None where nobody has said them."""

    token: str
    logprob: float
    octets: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of an answer, and the likeliest ones in its place, the likeliest first; it may not be among them."""

    chosen: Likelihood
    top: tuple[Likelihood, ...] = ()


Logprobs = tuple[TokenLogprob, ...]


def octets_of(likelihood: Likelihood) -> list[int]:
    """The token's bytes: as they were said, else those of its text in UTF-8."""
    said = likelihood.octets
    return list(likelihood.token.encode("utf-8", "replace") if said is None else said)


def shared_out(logprobs: Logprobs, texts: Iterable[str]) -> Iterator[Logprobs]:
    """For each of `texts`, which are an answer in several parts, the tokens that it is made of. Where that cannot be
    seen, since tokens and texts do not agree, the last part gets what is left."""
    parts, place = list(texts), 0
    for number, text in enumerate(parts):
        begin, length = place, 0
        while place < len(logprobs) and (length < len(text) or number == len(parts) - 1):
            length += len(logprobs[place].chosen.token)
            place += 1
        yield logprobs[begin:place]
