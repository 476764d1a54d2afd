"""Signatures of thoughts in the field where Google's clients keep them: `thoughtSignature`, which must be base64.

Google's own stand there as they are. What another vendor's model has signed is put there with our mark, so that it can
be told apart: it finds back to that vendor, and Google is not shown it (routing/upstreams/foreign_thoughts.py).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error

from routing.conversation import Thinking
from routing.upstreams.foreign_thoughts import MARK_IN_BASE64
from routing.upstreams.signatures import marked, signature_for
from spendhub.gateway.openai.sealed_thoughts import sealed, unsealed

_TO_STANDARD = str.maketrans("-_", "+/")
# For a call of a function that nobody has signed, so that Google's newer models, who refuse one without, can be told.
UNSIGNED = b64encode(b"spendhub.unsigned").decode()


def signature_to_tell(thought: Thinking) -> str:
    """What stands in the field for a thought; "" for one without a signature."""
    own = signature_for("gemini", thought.signature)
    if own:
        return own
    seal = sealed(thought)
    return b64encode(seal.encode()).decode() if seal is not None else ""


def thought_told(value: str, text: str) -> Thinking:
    """The thought that `value`, from the field, and `text` stand for."""
    if not value.startswith(MARK_IN_BASE64):
        return Thinking(text, marked("gemini", value))
    try:
        seal = b64decode(standard_base64(value), validate=True).decode()
    except (Error, ValueError):
        seal = ""
    return unsealed(seal, text) or Thinking(text)


def standard_base64(data: str) -> str:
    """`data` in the alphabet of RFC 4648, section 4, with padding; Google's SDKs write that of section 5."""
    data = data.translate(_TO_STANDARD)
    return data + "=" * (-len(data) % 4)
