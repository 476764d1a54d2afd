"""Thoughts of another vendor's model in a body that otherwise passes untouched: left out, since they would be refused.

Under a route one conversation may be answered by models of several vendors; its client sends all their thoughts back.
A vendor recognises its own by their signature, and refuses a request with others.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

# What we put before the signature of another vendor than the one whose wire format it is carried in.
_MARKS = ("gemini.", "bedrock.", "spendhub.")
# The same where Google's clients want base64. Nine bytes are twelve letters, whatever follows them.
MARK_IN_BASE64 = b64encode(b"spendhub.").decode()


def messages_without(messages: Sequence[Any]) -> Sequence[Any]:
    """Anthropic's `messages` without thinking that Anthropic has not signed; the very list where there is none."""
    found = [_without(message) for message in messages]
    return messages if all(new is old for new, old in zip(found, messages, strict=True)) else found


def items_without(items: Sequence[Any]) -> Sequence[Any]:
    """Items of a Responses `input` without reasoning that we have sealed; the very list where there is none."""
    if not any(_is_sealed(item) for item in items):
        return items
    return [item for item in items if not _is_sealed(item)]


def contents_without(contents: Sequence[Any], *, stand_in: str) -> Sequence[Any]:
    """Google's `contents` without signatures that are not Google's, and the thoughts that have them; the very list
    where there are none. `stand_in` takes such a signature's place at a call of a function, if that needs one."""
    found = [_content_without(content, stand_in) for content in contents]
    return contents if all(new is old for new, old in zip(found, contents, strict=True)) else found


def _content_without(content: Any, stand_in: str) -> Any:
    parts = content.get("parts") if isinstance(content, Mapping) else None
    if not isinstance(parts, list) or not any(_is_marked(part) for part in parts):
        return content
    kept = []
    for part in parts:
        if not _is_marked(part):
            kept.append(part)
        elif not part.get("thought"):
            bare = {name: value for name, value in part.items() if name != "thoughtSignature"}
            if stand_in and "functionCall" in bare:
                bare["thoughtSignature"] = stand_in
            if bare:
                kept.append(bare)
    return {**content, "parts": kept or [{"text": "(thinking)"}]}


def _is_marked(part: Any) -> bool:
    return isinstance(part, Mapping) and str(part.get("thoughtSignature") or "").startswith(MARK_IN_BASE64)


def _without(message: Any) -> Any:
    content = message.get("content") if isinstance(message, Mapping) and message.get("role") == "assistant" else None
    if not isinstance(content, list) or not any(_is_foreign(block) for block in content):
        return message
    kept = [block for block in content if not _is_foreign(block)]
    # A turn of nothing but thoughts: the vendor wants something in it.
    return {**message, "content": kept or [{"type": "text", "text": "(thinking)"}]}


def _is_foreign(block: Any) -> bool:
    if not isinstance(block, Mapping):
        return False
    if block.get("type") == "thinking":
        signature = block.get("signature")
        return not signature or str(signature).startswith(_MARKS)
    return block.get("type") == "redacted_thinking" and str(block.get("data", "")).startswith(_MARKS)


def _is_sealed(item: Any) -> bool:
    return (
        isinstance(item, Mapping)
        and item.get("type") == "reasoning"
        and str(item.get("encrypted_content") or "").startswith(_MARKS)
    )
