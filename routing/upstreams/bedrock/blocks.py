"""What people, models and tools have said, in Converse's blocks of content. Bytes are base64 in JSON, as they come.

Source: docs.aws.amazon.com, Amazon Bedrock API reference, "ContentBlock"; "Using the Converse API" in its user guide.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from routing.conversation import (
    Audio,
    Block,
    File,
    Image,
    Message,
    NotTranslatable,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    arguments_of,
    is_cache_point,
)
from routing.upstreams.bedrock.families import TOWARDS, Family
from routing.upstreams.file_addresses import media_type_of, path_of
from routing.upstreams.signatures import signature_for
from routing.upstreams.turns import EMPTY, plain_id, said_turns, short_id

CACHE_POINT: Mapping[str, Any] = {"cachePoint": {"type": "default"}}
IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
SOUNDS = ("wav", "mp3", "opus", "aac", "flac", "ogg", "m4a", "pcm", "webm")
DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
MAX_ID = 64
MAX_NAME = 150  # of 200: a number may follow
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9()\[\]-]+")


class ContentWriter:
    """Writes the turns of one conversation. Documents get names that are all different: Bedrock wants it so."""

    def __init__(self, family: Family, *, may_cache: bool) -> None:
        self._family = family
        self._may_cache = may_cache
        self._names: set[str] = set()

    def messages(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """The turns as `messages`. Raises NotTranslatable."""
        return [
            {"role": role, "content": content} for role, content in said_turns(messages, self._content, {"text": EMPTY})
        ]

    def system(self, parts: Iterable[Text]) -> list[dict[str, Any]]:
        """The system prompt as `system`."""
        return [said for part in parts for said in self._marked(part)]

    def _content(self, blocks: Iterable[Block]) -> list[dict[str, Any]]:
        # Results come first: Anthropic's models want them right behind the calls they answer.
        ordered = sorted(blocks, key=lambda block: not isinstance(block, ToolResult))
        content = [said for block in ordered for said in self._marked(block)]
        documents = [said["document"]["name"] for said in content if "document" in said]
        if documents and not any("text" in said for said in content):
            content.append({"text": documents[0]})  # A document alone is refused: it wants words beside it.
        return content

    def _marked(self, block: Block) -> list[dict[str, Any]]:
        """The block, and that it may be kept in the prompt cache, where its client says so."""
        said = self._said(block)
        return [*said, dict(CACHE_POINT)] if said and is_cache_point(block) and self._may_cache else said

    def _said(self, block: Block) -> list[dict[str, Any]]:
        match block:
            case Text() | Refusal():
                return _words(block.text)
            case Image():
                return [_image(block)]
            case File():
                return [self._document(block)]
            case Audio():
                return [_audio(block)]
            case Thinking():
                return self._thinking(block)
            case ToolCall():
                call = {"toolUseId": call_id(block.id), "name": block.name, "input": arguments_of(block)}
                return [{"toolUse": call}]
            case ToolResult():
                return [self._result(block)]

    def _thinking(self, block: Thinking) -> list[dict[str, Any]]:
        if not self._family.is_claude:
            return []  # Only Claude needs its thoughts back; several others refuse a request that has any.
        if block.is_redacted:
            data = signature_for("bedrock", block.signature)
            return [{"reasoningContent": {"redactedContent": data}}] if data else []
        # Anthropic's signatures hold wherever its models run.
        signature = signature_for("anthropic", block.signature)
        if not signature:
            return []
        return [{"reasoningContent": {"reasoningText": {"text": block.text, "signature": signature}}}]

    def _result(self, block: ToolResult) -> dict[str, Any]:
        content = [said for part in block.content for said in self._said(part)]
        result: dict[str, Any] = {
            "toolUseId": call_id(block.call_id),
            "content": content or [{"text": EMPTY}],  # Neither no content nor a blank text is taken.
        }
        if block.is_error:
            result["status"] = "error"
        return {"toolResult": result}

    def _document(self, block: File) -> dict[str, Any]:
        name = self._name_of(block)
        if block.text:
            data = base64.b64encode(block.text.encode()).decode()
            return {"document": {"format": "txt", "name": name, "source": {"bytes": data}}}
        path = path_of(block.url) or block.name
        found = DOCUMENTS.get(block.media_type) or DOCUMENTS.get(mimetypes.guess_type(path)[0] or "")
        if found is None and block.media_type.startswith("text/"):
            found = "txt"
        if found is None:
            raise NotTranslatable(f"messages: a file of type {block.media_type or 'unknown'}", TOWARDS)
        return {"document": {"format": found, "name": name, "source": _source(block, "a document")}}

    def _name_of(self, block: File) -> str:
        given = PurePosixPath(block.name or path_of(block.url)).stem
        plain = _NOT_IN_NAMES.sub(" ", given).strip()[:MAX_NAME].strip() or "document"
        name, number = plain, 1
        while name.lower() in self._names:
            number += 1
            name = f"{plain} ({number})"
        self._names.add(name.lower())
        return name


def call_id(given: str) -> str:
    """A tool call's id as Bedrock takes it: plain characters, at most 64; the same for the call and its result."""
    return short_id(plain_id(given), MAX_ID)


def _words(text: str) -> list[dict[str, Any]]:
    return [{"text": text}] if text.strip() else []  # Blank texts are refused.


def _image(block: Image) -> dict[str, Any]:
    media_type = block.media_type or media_type_of(block.url) or "image/jpeg"
    if media_type not in IMAGES:
        raise NotTranslatable(f"messages: a picture of type {media_type}", TOWARDS)
    return {"image": {"format": IMAGES[media_type], "source": _source(block, "a picture")}}


def _audio(block: Audio) -> dict[str, Any]:
    if block.format not in SOUNDS:
        raise NotTranslatable(f"messages: audio of type {block.format}", TOWARDS)
    return {"audio": {"format": block.format, "source": {"bytes": block.data}}}


def _source(block: Image | File, what: str) -> dict[str, Any]:
    if not block.url:
        return {"bytes": block.data}
    if not block.url.startswith("s3://"):
        raise NotTranslatable(f"messages: {what} by its URL", TOWARDS)
    return {"s3Location": {"uri": block.url}}
