"""Finds the input of a request that only its vendor sees: files, films and documents, by name, by address or packed,
and whatever the vendor keeps of earlier calls. Nothing in the request bounds what it is billed as.

A page of a PDF is text and a picture, and a thousand pages may be packed into a few bytes: what stands in the request
itself is no measure either. Looked for under strict budgets alone. What is not known here counts as unseen.

Sources: input items and content parts in OpenAI's, Anthropic's and Google's API references. Rule: docs/pricing.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from routing.packed import packed_in
from routing.upstreams.base import GENERATE, Wire
from spendhub.gateway.dialect import CallRequest

# Fields that stand for what the vendor keeps, or takes beside the messages.
_KEPT_BY_THE_VENDOR = ("previous_response_id", "conversation", "container", "documents")
# What begins a thread that Anthropic keeps: it brings nothing; to continue one brings all of it.
_BEGINS = {"type": "create"}
# Where a request says what the model reads. Tools and schemas are texts, whatever they describe.
_SAID = ("messages", "input", "contents", "system", "systemInstruction")
# Parts and items that are all there: texts, opaque ones too, and sounds.
_SEEN = frozenset(
    (
        "text", "input_text", "output_text", "summary_text", "reasoning_text", "refusal", "message", "input_audio",
        "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "tool_use",
        "tool_result", "tool_reference", "thinking", "redacted_thinking", "search_result", "compaction",
        "computer_call", "computer_call_output", "local_shell_call", "local_shell_call_output", "shell_call",
        "shell_call_output", "apply_patch_call", "apply_patch_call_output",
    )
)  # fmt: skip
_PICTURES = ("image_url", "input_image", "image", "computer_screenshot")
# What has parts itself has them here. Never below a tool call's arguments: those are the model's own words.
_HOLDERS = ("content", "output", "parts")
# A beta that lets a model take more than the catalog says, in million tokens: `context-1m-2025-08-07`.
_LONGER_CONTEXT = re.compile(r"\bcontext-(\d{1,4})m\b", re.IGNORECASE)


class Unseen(msgspec.Struct, frozen=True):
    """`field` names the first place that brings input of any size, "" for none; `pictures` are counted. Sounds have
    more bytes than tokens in the formats that OpenAI takes: `sound_bytes`, as they are sent."""

    field: str = ""
    pictures: int = 0
    sound_bytes: int = 0


def unseen_in(request: CallRequest) -> Unseen:
    """What of the request's input its size does not show."""
    body, look = request.body, _Look(request.wire)
    for name in _KEPT_BY_THE_VENDOR:
        if body.get(name):
            look.note(name)
    if body.get("thread") and body["thread"] != _BEGINS:
        look.note("thread")
    for name in _SAID:
        look.into(body.get(name), name)
    return Unseen(look.field, look.pictures, look.sound_bytes)


def context_asked_for(request: CallRequest, passed_headers: Mapping[str, str]) -> int:
    """How many tokens the client asks its vendor to take of this call, beyond what the model usually does; 0 where it
    does not. Source: Anthropic's guide to context windows, "1M token context window"."""
    said = f"{passed_headers.get('anthropic-beta', '')} {request.body.get('anthropic_beta') or ''}"
    return max((int(millions) * 1_000_000 for millions in _LONGER_CONTEXT.findall(said)), default=0)


class _Look:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.field = ""
        self.pictures = 0
        self.sound_bytes = 0

    def note(self, place: str) -> None:
        self.field = self.field or place

    def into(self, value: Any, place: str) -> None:
        """Bodies have at most 256 levels."""
        if isinstance(value, list):
            for position, each in enumerate(value):
                if isinstance(each, (list, Mapping)):
                    self.into(each, f"{place}[{position}]")
        elif isinstance(value, Mapping):
            self._into_part(value, place)

    def _into_part(self, part: Mapping[str, Any], place: str) -> None:
        kind = part.get("type")
        if kind is not None and not isinstance(kind, str):
            self.note(place)
        elif kind in _PICTURES:
            self.pictures += 1
        elif kind == "document":
            self._into_document(part, place)
        elif kind == "input_audio" and (packed := packed_in(part)) is not None:
            self.sound_bytes += packed.characters
        elif kind == "reasoning":
            # Without its own words it is a name for those that the vendor keeps.
            if not part.get("encrypted_content"):
                self.note(place)
        elif kind in _SEEN or (kind is None and ("role" in part or "parts" in part)):
            if isinstance(part.get("audio"), Mapping):
                self.note(f"{place}.audio")  # of an earlier answer, by its id
            for holder in _HOLDERS:
                self.into(part.get(holder), f"{place}.{holder}")
        elif kind is None and self._wire == GENERATE:
            self._into_googles(part, place)
        else:
            self.note(place)

    def _into_document(self, part: Mapping[str, Any], place: str) -> None:
        source = part.get("source")
        kind = source.get("type") if isinstance(source, Mapping) else None
        if kind == "content":
            self.into(part["source"].get("content"), f"{place}.source.content")
        elif kind != "text":
            self.note(place)

    def _into_googles(self, part: Mapping[str, Any], place: str) -> None:
        data, response = part.get("inlineData"), part.get("functionResponse")
        mime_type = str(data.get("mimeType")) if isinstance(data, Mapping) else ""
        if "fileData" in part or (mime_type and not mime_type.startswith(("image/", "text/"))):
            self.note(place)
        elif mime_type.startswith("image/"):
            self.pictures += 1
        elif isinstance(response, Mapping):
            self.into(response.get("parts"), f"{place}.functionResponse.parts")
