"""Thoughts of another vendor's model in a body that otherwise passes untouched: left out, since they would be refused.

Under a route one conversation may be answered by models of several vendors; its client sends all their thoughts back.
A vendor recognises its own by their signature, and refuses a request with others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What we put before the signature of another vendor than the one whose wire format it is carried in.
_MARKS = ("gemini.", "spendhub.")


def messages_without(messages: Sequence[Any]) -> Sequence[Any]:
    """Anthropic's `messages` without thinking that Anthropic has not signed; the very list where there is none."""
    found = [_without(message) for message in messages]
    return messages if all(new is old for new, old in zip(found, messages, strict=True)) else found


def items_without(items: Sequence[Any]) -> Sequence[Any]:
    """Items of a Responses `input` without reasoning that we have sealed; the very list where there is none."""
    if not any(_is_sealed(item) for item in items):
        return items
    return [item for item in items if not _is_sealed(item)]


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
