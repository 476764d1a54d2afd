"""What a request says that many models refuse: settings of how words are chosen, where to stop, how much to think."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unusual:
    """As its client has written it; empty where nothing is said, or only what would hold anyway.

    `sampling`: settings of how words are chosen, with their value ("temperature 0.2"). `logprobs` and `stop`: the field
    by which log probabilities are asked for, and an end at certain words. `effort`: the word of a chat completion or a
    response for how much thinking is wanted. `has_tools`: of a chat completion."""

    sampling: tuple[str, ...] = ()
    logprobs: str = ""
    stop: str = ""
    effort: str = ""
    has_tools: bool = False


NOTHING_UNUSUAL = Unusual()
