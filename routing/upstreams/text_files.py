"""Documents that are nothing but text, for vendors who take text alone in their place."""

from __future__ import annotations

import base64

from routing.conversation import File, NotTranslatable


def text_in(block: File, towards: str) -> str | None:
    """What a document of text says, None for one of another kind. Raises NotTranslatable for data that is no
    UTF-8 in base64."""
    if block.text or not block.media_type.startswith("text/"):
        return block.text or None
    try:
        return base64.b64decode(block.data, validate=True).decode()
    except ValueError:  # no base64, or not even ASCII, or other bytes in it
        raise NotTranslatable(f"messages: a file of type {block.media_type} that is no UTF-8", towards) from None
