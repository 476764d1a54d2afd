"""POST /v1beta/models/{model}:generateContent, :streamGenerateContent: how a client of Google's asks and is answered.

What we must know of a request is checked here; all else goes to a vendor of the same wire untouched.
Source: ai.google.dev API reference, "Generating content".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from routing.conversation import Conversation, Reply, beside_words
from routing.model_facts import ModelFacts
from routing.upstreams.base import GENERATE, UsageReader, Wire
from spendhub.errors import Invalid, SpendHubError
from spendhub.gateway.dialect import CallRequest, StreamOut
from spendhub.gateway.exchange import Headers
from spendhub.gateway.foreign_fields import OwnNames
from spendhub.gateway.gemini.errors import error_answer, error_event
from spendhub.gateway.gemini.field_names import with_googles_names
from spendhub.gateway.gemini.generate_conversation import CONFIG, MAX_CHOICES, OWN_NAMES, generate_conversation
from spendhub.gateway.gemini.generate_passing import GeneratePassing
from spendhub.gateway.gemini.generate_writing import GenerateWriting, answer
from spendhub.gateway.request_bodies import (
    model_in,
    object_field,
    object_in,
    objects_in,
    some_objects_in,
    whole_in,
)

_NEEDS_OF_MEDIA = {"image": "vision", "audio": "audio"}
_JSON = "application/json"


class GenerateDialect:
    """Google's generateContent, asked of `model`, the name in the address."""

    wire: Wire = GENERATE
    own_names: OwnNames = OWN_NAMES

    def __init__(self, model: str, *, is_stream: bool) -> None:
        self._model = model
        self._is_stream = is_stream

    def parse(self, raw: bytes) -> CallRequest:
        """See ClientDialect."""
        return parse_generate(raw, self._model, is_stream=self._is_stream)

    def needs(self, request: CallRequest) -> frozenset[str]:
        """See ClientDialect."""
        body = request.body
        config = body.get(CONFIG) or {}
        found = {"streaming"} if request.is_stream else set()
        if body.get("tools"):
            found.add("tools")
        if _thinks(config.get("thinkingConfig")):
            found.add("reasoning")
        if config.get("responseMimeType") == _JSON:
            found.add("json")
        modalities = config.get("responseModalities")
        if isinstance(modalities, list) and any(str(each).upper() == "AUDIO" for each in modalities):
            found.add("audio")
        for part in _parts(body):
            if part.get("functionCall") or part.get("functionResponse"):
                found.add("tools")
            media = part.get("inlineData") or part.get("fileData")
            if isinstance(media, dict):
                family = str(media.get("mimeType") or "").partition("/")[0].lower()
                found.add(_NEEDS_OF_MEDIA.get(family, "files"))
        return beside_words(request.choices, wants_logprobs=config.get("responseLogprobs") is True).union(found)

    def text(self, request: CallRequest) -> str:
        """See ClientDialect."""
        texts = (part.get("text") for part in _parts(request.body, with_system=True))
        return "\n".join(text for text in texts if isinstance(text, str) and text)

    def conversation(self, request: CallRequest) -> Conversation:
        """See ClientDialect. docs/gateway.md, "Across dialects", lists what is refused and what is dropped."""
        return generate_conversation(request.body)

    def without_tools(self, request: CallRequest, names: frozenset[str]) -> CallRequest:
        """See ClientDialect. What is said of the choice of a tool that is gone goes with it."""
        body = dict(request.body)
        tools = [kept for tool in body.get("tools") or () if (kept := _tool_without(tool, names))]
        body["tools"] = tools
        choice = _choice_without(body.get("toolConfig"), names)
        if not tools or not choice:
            body.pop("toolConfig", None)
        else:
            body["toolConfig"] = choice
        if not tools:
            del body["tools"]
        return replace(request, body=body, tools=tuple(name for name in request.tools if name not in names))

    def with_max_output(self, request: CallRequest, tokens: int, model: ModelFacts | None = None) -> CallRequest:
        """See ClientDialect. Each candidate gets an equal share, at least one token."""
        each = max(1, tokens // request.choices)
        config = {**(request.body.get(CONFIG) or {}), "maxOutputTokens": each}
        return replace(request, body={**request.body, CONFIG: config}, max_output_tokens=each * request.choices)

    def whole(self, reply: Reply, request: CallRequest, model: str) -> bytes:
        """See ClientDialect."""
        return answer(reply, model, request.choices)

    def passing(self, request: CallRequest) -> StreamOut:
        """See ClientDialect."""
        return GeneratePassing(request.choices)

    def writing(self, request: CallRequest, reader: UsageReader, model: str) -> StreamOut:
        """See ClientDialect."""
        return GenerateWriting(reader, model, request.choices)

    def error_answer(self, error: SpendHubError) -> tuple[int, bytes, Headers]:
        """See ClientDialect."""
        return error_answer(error)

    def error_event(self, error: SpendHubError) -> bytes:
        """See ClientDialect."""
        return error_event(error)


# For errors of requests that never came so far as to name a model.
GENERATE_DIALECT = GenerateDialect("", is_stream=False)


def parse_generate(raw: bytes, model: str, *, is_stream: bool) -> CallRequest:
    """The request in `raw` to `model`, as its name stands in the address."""
    body = with_googles_names(raw, object_in(raw))
    choices, limit = check_generate(body)
    return CallRequest(
        wire=GENERATE,
        body=body,
        model=model_in({"model": model}),
        is_stream=is_stream,
        max_output_tokens=None if limit is None else limit * choices,
        choices=choices,
        tools=tuple(_tool_names(body)),
        metadata=object_field(body, "labels"),
        metadata_field="labels",
    )


def check_generate(body: Mapping[str, Any]) -> tuple[int, int | None]:
    """How many candidates are wanted, and how long each may be. Raises Invalid for what we could not read."""
    some_objects_in(body, "contents")
    object_field(body, "systemInstruction")
    config = object_field(body, CONFIG) or {}
    # So that whoever finds something wrong names the whole place.
    config = {f"{CONFIG}.{name}": value for name, value in config.items()}
    choices = whole_in(config, f"{CONFIG}.candidateCount", MAX_CHOICES) or 1
    return choices, whole_in(config, f"{CONFIG}.maxOutputTokens")


def _tool_names(body: Mapping[str, Any]) -> Iterator[str]:
    """The names of functions, and of tools that Google runs, e.g. `googleSearch`."""
    for position, tool in enumerate(objects_in(body, "tools")):
        for name in tool:
            if name != "functionDeclarations":
                yield name
        try:
            functions = objects_in(tool, "functionDeclarations")
        except Invalid:
            place = f"tools[{position}].functionDeclarations"
            raise Invalid(f"{place} must be a list of objects", field=place) from None
        yield from (str(function["name"]) for function in functions if "name" in function)


def _tool_without(tool: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    kept = {name: value for name, value in tool.items() if name not in names}
    functions = kept.get("functionDeclarations")
    if functions is not None:
        kept["functionDeclarations"] = [each for each in functions if str(each.get("name")) not in names]
        if not kept["functionDeclarations"]:
            del kept["functionDeclarations"]
    return kept


def _choice_without(given: Any, names: frozenset[str]) -> dict[str, Any]:
    """The tools' configuration, without a choice that would be among tools that are gone."""
    config: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    choice = config.get("functionCallingConfig")
    choice = choice if isinstance(choice, dict) else {}
    allowed = choice.get("allowedFunctionNames")
    if isinstance(allowed, list) and not names.isdisjoint(map(str, allowed)):
        left = [name for name in allowed if str(name) not in names]
        if left:
            config["functionCallingConfig"] = {**choice, "allowedFunctionNames": left}
        else:
            del config["functionCallingConfig"]
    return config


def _thinks(config: Any) -> bool:
    if not isinstance(config, dict):
        return False
    is_off = config.get("thinkingBudget") == 0
    return not is_off and any(config.get(name) for name in ("thinkingBudget", "thinkingLevel", "includeThoughts"))


def _parts(body: Mapping[str, Any], *, with_system: bool = False) -> Iterator[dict[str, Any]]:
    """The parts of all contents, and those that functions answered with."""
    for content in (body.get("systemInstruction") if with_system else None, *body["contents"]):
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                continue
            yield part
            response = part.get("functionResponse")
            inner = response.get("parts") if isinstance(response, dict) else None
            yield from (each for each in (inner if isinstance(inner, list) else ()) if isinstance(each, dict))
