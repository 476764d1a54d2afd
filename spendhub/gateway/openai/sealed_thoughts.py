"""Signed thoughts of other vendors in the field where OpenAI's responses keep encrypted reasoning.

A client sends `encrypted_content` back without reading it. What we put there begins with our mark, so that
it can be told from what OpenAI itself has encrypted, which no other vendor can read.
"""

from __future__ import annotations

from routing.conversation import Thinking

_SIGNED, _REDACTED = "spendhub.signed.", "spendhub.redacted."
# Of thoughts without a signature. Where nothing stands OpenAI would look for those that it has kept itself.
UNSIGNED = "spendhub.unsigned"


def sealed(thought: Thinking) -> str | None:
    """The field's value for a thought, None for one without a signature."""
    if not thought.signature:
        return None
    return f"{_REDACTED if thought.is_redacted else _SIGNED}{thought.signature}"


def unsealed(value: str, text: str) -> Thinking | None:
    """The thought that `value` and its summary `text` stand for, None where we have not sealed it, or nobody has
    signed it."""
    if value.startswith(_SIGNED):
        return Thinking(text, value.removeprefix(_SIGNED))
    if value.startswith(_REDACTED):
        return Thinking(signature=value.removeprefix(_REDACTED), is_redacted=True)
    return None
