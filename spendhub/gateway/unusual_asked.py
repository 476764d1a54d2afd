"""Reads from a request what many models refuse: most requests have none of it, and pay one look at their fields' names.

Messages and generateContent are said in other words to the models in question, without what those do not take: of them
only what cannot be left out is read. Sources: the request parameters in OpenAI's, Anthropic's and Google's API
references; who refuses what: routing/upstreams/openai/generations.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from routing.unusual import NOTHING_UNUSUAL, Unusual
from routing.upstreams.base import CHAT, GENERATE, MESSAGES, RESPONSES
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.gemini.generate_conversation import CONFIG
from spendhub.gateway.openai.responses_conversation import wants_logprobs

# What holds where nothing is said, and so says nothing itself.
_USUAL: Mapping[str, Any] = {
    "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {},
}  # fmt: skip
_OF_CHATS = (*_USUAL, "logprobs", "top_logprobs", "stop", "reasoning_effort", "tools", "functions")
_OF_RESPONSES = ("temperature", "top_p", "top_logprobs", "include", "reasoning")
_FIELDS = frozenset((*_OF_CHATS, *_OF_RESPONSES, "stop_sequences", CONFIG))
# Such a word ends up in the reason for which a model falls out.
_LONGEST_WORD = 40


def unusual_in(request: CallRequest) -> Unusual:
    """What the request says that many models refuse; NOTHING_UNUSUAL for most."""
    body = request.body
    if _FIELDS.isdisjoint(body):
        return NOTHING_UNUSUAL
    if request.wire == CHAT:
        found = _in_chat(body)
    elif request.wire == RESPONSES:
        found = _in_response(body)
    elif request.wire == MESSAGES:
        found = Unusual(stop=_first_said(body, "stop_sequences"))
    else:
        found = _in_contents(body) if request.wire == GENERATE else NOTHING_UNUSUAL
    return NOTHING_UNUSUAL if found == NOTHING_UNUSUAL else found


def _in_chat(body: Mapping[str, Any]) -> Unusual:
    return Unusual(
        sampling=_sampling(body, _USUAL),
        logprobs=_first_said(body, "logprobs", "top_logprobs"),
        stop=_first_said(body, "stop"),
        effort=_word(body.get("reasoning_effort")),
        has_tools=bool(body.get("tools") or body.get("functions")),
    )


def _in_response(body: Mapping[str, Any]) -> Unusual:
    reasoning = body.get("reasoning")
    return Unusual(
        sampling=_sampling(body, ("temperature", "top_p")),
        logprobs=_first_said(body, "top_logprobs", "include") if wants_logprobs(body) else "",
        effort=_word(reasoning.get("effort")) if isinstance(reasoning, Mapping) else "",
    )


def _in_contents(body: Mapping[str, Any]) -> Unusual:
    config = body.get(CONFIG)
    if not isinstance(config, Mapping):
        return NOTHING_UNUSUAL
    logprobs, stop = _first_said(config, "responseLogprobs"), _first_said(config, "stopSequences")
    return Unusual(logprobs=logprobs and f"{CONFIG}.{logprobs}", stop=stop and f"{CONFIG}.{stop}")


def _sampling(body: Mapping[str, Any], fields: Iterable[str]) -> tuple[str, ...]:
    said = ((name, body.get(name)) for name in fields)
    return tuple(
        f"{name} {value}" if isinstance(value, int | float) else name
        for name, value in said
        if value is not None and value != _USUAL[name]
    )


def _first_said(body: Mapping[str, Any], *fields: str) -> str:
    """The first of the fields that says something, "" where none does."""
    return next((name for name in fields if body.get(name)), "")


def _word(effort: Any) -> str:
    return "" if effort is None else str(effort)[:_LONGEST_WORD]
