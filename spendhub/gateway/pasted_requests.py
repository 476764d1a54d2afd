"""Reads a request that somebody pastes to see which model would answer it, in the way that calls are read.

A call's address says which client wrote it. Here its fields must: each dialect has some that no other has.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from routing.asking import say
from routing.extras import Extras
from routing.model_facts import ModelFacts
from routing.pasted_requests import PastedRequest, ReadRequest
from routing.routes import AUTO
from routing.snapshot import CATALOG
from routing.tokens import estimate_input_tokens
from routing.upstreams.json_objects import objects_among
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT, MessagesDialect, parse_messages
from spendhub.gateway.attribution import attribute
from spendhub.gateway.calls import wanted_of
from spendhub.gateway.declared import demands_of
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.exchange import Exchange
from spendhub.gateway.extras_asked import extras_at
from spendhub.gateway.gemini.addresses import MODELS
from spendhub.gateway.gemini.embed import EmbedDialect
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.embeddings import EMBEDDINGS_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from spendhub.gateway.sent_request import asked_with
from spendhub.tenants.attribution import NOBODY

# What only chat completions, only responses, and only messages have.
_CHATS = frozenset(
    (
        "n", "functions", "response_format", "modalities", "audio", "web_search_options", "max_completion_tokens",
        "reasoning_effort", "logprobs", "stream_options", "frequency_penalty", "presence_penalty", "stop", "user",
        "seed", "logit_bias", "top_logprobs", "parallel_tool_calls", "prediction", "verbosity", "store",
        "function_call",
    )
)  # fmt: skip
_ROLES_OF_CHATS = ("developer", "tool", "function")
_PARTS_OF_CHATS = ("image_url", "input_audio", "file", "refusal")
_RESPONSES = ("input", "instructions", "previous_response_id", "conversation", "prompt")
_MESSAGES = frozenset(
    ("system", "thinking", "stop_sequences", "mcp_servers", "output_config", "output_format", "container")
)
_BLOCKS_OF_MESSAGES = (
    "image", "document", "container_upload", "tool_use", "tool_result", "thinking", "redacted_thinking",
)  # fmt: skip
# So many characters take as long to be said as another value.
_CHARACTERS_OF_A_VALUE = 1_000
_EMBEDDING = "embedding"
_encoder = msgspec.json.Encoder()


async def _unread() -> Any:
    raise RuntimeError("a pasted request is not on its way anywhere")


async def _unsent(message: Any) -> None:
    raise RuntimeError("a pasted request is not on its way anywhere")


# Nothing is said in headers.
_UNSENT = Exchange({"method": "POST", "path": "", "headers": []}, _unread, _unsent)


def read_pasted(pasted: PastedRequest) -> ReadRequest:
    """See routing/pasted_requests.py."""
    model = pasted.model or pasted.body.get("model") or AUTO
    is_embedding = _is_embedding(pasted, model)
    body = _with_prompt({**pasted.body, "model": model}, pasted.prompt, is_embedding=is_embedding)
    dialect = _dialect_of(body, is_embedding=is_embedding)
    request = _parse(dialect, body)
    if pasted.max_output_tokens is not None:
        request = dialect.with_max_output(request, pasted.max_output_tokens * request.choices)
    tokens = estimate_input_tokens(request.body) if pasted.input_tokens is None else pasted.input_tokens
    named = attribute(
        _UNSENT, request.user, request.metadata, NOBODY, wire=request.wire, metadata_field=request.metadata_field
    )
    attribution = pasted.attribution.over(named)
    wanted = wanted_of(
        pasted.tenant, request, dialect, attribution, demands_of(_UNSENT, request.body), tokens
    )  # fmt: skip

    def extras_of_model(model: ModelFacts) -> Extras:
        return extras_at(wanted.extras, request, model)

    return ReadRequest(wanted, extras_of_model, _checks_words(request, dialect), _size_of(request.body))


def _size_of(body: Mapping[str, Any]) -> int:
    """See ReadRequest."""
    size, left = 0, list[Any]([body])
    while left:
        value = left.pop()
        size += 1
        if isinstance(value, Mapping):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, str):
            size += len(value) // _CHARACTERS_OF_A_VALUE
    return size


def _checks_words(request: CallRequest, dialect: ClientDialect) -> Callable[[ModelFacts], None]:
    """Says the request to a model as a call does, and sends it nowhere."""
    asked = asked_with(request, dialect, {})
    # Read once, however many models it is said to.
    asked = replace(asked, conversation=functools.cache(asked.conversation))

    def check(model: ModelFacts) -> None:
        say(model, asked, credential="")

    return check


def _is_embedding(pasted: PastedRequest, model: Any) -> bool:
    """Whether texts are to be embedded; of `input` alone only the model's own kind tells it from responses."""
    if pasted.kind:
        return pasted.kind == _EMBEDDING
    if "input" not in pasted.body or not isinstance(model, str):
        return "messages" not in pasted.body and ("content" in pasted.body or "requests" in pasted.body)
    known = CATALOG.current().resolve(pasted.tenant.id, model)
    return known is not None and known.kind == _EMBEDDING


def _with_prompt(body: dict[str, Any], prompt: str, *, is_embedding: bool) -> dict[str, Any]:
    """The body with the words that stand beside it; with something to say in any case."""
    said: dict[str, Any] = {"role": "user", "content": prompt}
    if is_embedding:
        return body if {"input", "content", "requests"} & body.keys() else body | {"input": prompt or " "}
    if "contents" in body:
        name, said = "contents", {"role": "user", "parts": [{"text": prompt}]}
    else:
        name = "input" if any(each in body for each in _RESPONSES) else "messages"
    before = body.get(name)
    if before is None and (prompt or name == "messages"):
        return body | {name: [said]}
    if isinstance(before, str):
        before = [{"role": "user", "content": before}]
    return body | {name: [*before, said]} if prompt and isinstance(before, list) else body


def _dialect_of(body: Mapping[str, Any], *, is_embedding: bool) -> ClientDialect:
    name = str(body["model"]).removeprefix(f"{MODELS.rpartition('/')[2]}/")
    if is_embedding:
        return EMBEDDINGS_DIALECT if "input" in body else EmbedDialect(name, is_batch="requests" in body)
    if "contents" in body:
        return GenerateDialect(name, is_stream=False)
    if any(each in body for each in _RESPONSES):
        return RESPONSES_DIALECT
    return MESSAGES_DIALECT if _is_anthropics(body) else CHAT_DIALECT


def _is_anthropics(body: Mapping[str, Any]) -> bool:
    """Whether a body with `messages` is meant for Anthropic's API; what could be for either is the same in both."""
    turns, tools = list(objects_among(body.get("messages"))), list(objects_among(body.get("tools")))
    blocks = [block for turn in turns for block in objects_among(turn.get("content"))]
    if not _CHATS.isdisjoint(body) or any("function" in tool for tool in tools):
        return False
    if any(turn.get("role") in _ROLES_OF_CHATS or "tool_calls" in turn for turn in turns):
        return False
    if any(block.get("type") in _PARTS_OF_CHATS for block in blocks):
        return False
    metadata = body.get("metadata")
    if not _MESSAGES.isdisjoint(body) or (isinstance(metadata, Mapping) and "user_id" in metadata):
        return True
    if any("name" in tool for tool in tools) or any(block.get("type") in _BLOCKS_OF_MESSAGES for block in blocks):
        return True
    # Many vendors of OpenAI's format take it too; Anthropic's clients say what the system says beside the turns.
    return "top_k" in body and all(turn.get("role") != "system" for turn in turns)


def _parse(dialect: ClientDialect, body: Mapping[str, Any]) -> CallRequest:
    raw = _encoder.encode(body)
    # Whoever tries a request has not always said how long the answer may be.
    return parse_messages(raw, needs_limit=False) if isinstance(dialect, MessagesDialect) else dialect.parse(raw)
