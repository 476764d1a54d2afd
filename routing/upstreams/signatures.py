"""Signatures of thoughts that find back to the vendor who made them.

A client keeps a signature without reading it and sends it with the next request, perhaps to another vendor's model,
which would refuse it. So a signature that we translate from another vendor than Anthropic begins with its dialect's
name; Anthropic's own stay as they are, since its clients also send them past us untouched. But in a chat completion
they are marked too: there they could not be told from those of another vendor who has such a field.
"""

from __future__ import annotations

_SEPARATOR = "."
_MARKED = ("gemini", "bedrock", "openai")
_ANTHROPICS = "anthropic"


def marked(dialect: str, signature: str) -> str:
    """A vendor's `signature` as clients get it."""
    return f"{dialect}{_SEPARATOR}{signature}" if signature else ""


def marked_in_chat(signature: str) -> str:
    """A signature as clients of chat completions get it."""
    is_marked = signature.partition(_SEPARATOR)[0] in _MARKED
    return signature if is_marked else marked(_ANTHROPICS, signature)


def signature_for(dialect: str, signature: str) -> str:
    """What a vendor that speaks `dialect` is sent for it: its own signature, "" for another vendor's."""
    owner, separator, rest = signature.partition(_SEPARATOR)
    if separator and owner in (*_MARKED, _ANTHROPICS):
        return rest if owner == dialect else ""
    return "" if dialect in _MARKED else signature
