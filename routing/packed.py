"""Documents, sounds and films that a request brings packed, as base64: where they stand in a part, and how many tokens
they are taken for.

Nothing is unpacked but texts: the size and the kind say enough for an estimate, which is an upper one of what is
common. Sources of the tokens of a page and of a second are beside the numbers; how many bytes these have is an
assumption of ours. Rule: docs/pricing.md, "Counting tokens without the vendor".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

# A page. Anthropic: 1,500 to 3,000 tokens (its guide to PDFs), OpenAI: its text and a picture of it (guide "File
# inputs"), Google: 258 and its text (guide "Document understanding").
TOKENS_PER_PAGE = 3_000
BYTES_PER_PAGE = 40_000
# A second of sound. Google: 32 (guide "Audio understanding"); OpenAI: 10 (guide "Managing costs" of its Realtime API).
TOKENS_PER_SECOND_OF_SOUND = 32
# A second of film: a picture of 258 tokens, the sound, and 7 for its time (Google's guide "Video understanding").
TOKENS_PER_SECOND_OF_FILM = 297
BYTES_PER_SECOND_OF_FILM = 100_000
# Bytes that a second of sound usually has at the least: 8,000 samples of 16 bits; 64 kbit; 16 kbit of speech.
_UNCOMPRESSED, _COMPRESSED, BYTES_PER_SECOND_OF_SPEECH = 16_000, 8_000, 2_000
_BYTES_PER_SECOND = {
    **dict.fromkeys(("wav", "wave", "vnd.wave", "aiff", "pcm", "pcm16", "l16"), _UNCOMPRESSED),
    **dict.fromkeys(("mp3", "mpeg", "mpga", "mp4", "m4a", "aac", "flac"), _COMPRESSED),
}
_TEXTS = ("text/", "application/json", "application/xml", "application/x-javascript", "application/x-python")
_TEXT_ENDINGS = (
    ".txt",
    ".md",
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".xml",
    ".html",
    ".yaml",
    ".yml",
    ".py",
    ".js",
    ".ts",
)
# Where parts of a type have their bytes: in which object of theirs ("" for themselves), and in which field of it.
_PLACES = {
    "file": ("file", "file_data"),
    "input_audio": ("input_audio", "data"),
    "input_file": ("", "file_data"),
    "document": ("source", "data"),
    "audio_url": ("audio_url", "url"),
    "video_url": ("video_url", "url"),
}
PACKED_TYPES = frozenset(_PLACES)
_MOST_CHARACTERS_OF_A_HEAD = 200


class Packed(NamedTuple):
    """Bytes in a part: in the object `holder`, which the part has as `within` ("" where it is the part itself), in its
    `field`, where the base64 of them begins at `start`. `media_type` is in lower case, "" where nobody says it."""

    holder: Mapping[str, Any]
    within: str
    field: str
    start: int
    media_type: str

    @property
    def characters(self) -> int:
        """How long their base64 is."""
        return len(self.holder[self.field]) - self.start

    @property
    def is_text(self) -> bool:
        """Whether they are a text, and count as one."""
        return self.media_type.startswith(_TEXTS)

    @property
    def is_picture(self) -> bool:
        """Whether they are a picture, and count as one."""
        return self.media_type.startswith("image/")

    def text(self) -> str:
        """A text, unpacked; as it stands where it is no text in base64."""
        packed: str = self.holder[self.field][self.start :]
        try:
            return base64.b64decode(packed.replace("-", "+").replace("_", "/"), validate=True).decode()
        except (binascii.Error, ValueError):
            return packed

    def tokens(self) -> int:
        """What bytes that are neither text nor picture are taken for."""
        size = self.characters * 3 // 4
        kind, _, form = self.media_type.partition("/")
        if kind == "audio":
            seconds = 1 + size // _BYTES_PER_SECOND.get(form.removeprefix("x-"), BYTES_PER_SECOND_OF_SPEECH)
            return seconds * TOKENS_PER_SECOND_OF_SOUND
        if kind == "video":
            return (1 + size // BYTES_PER_SECOND_OF_FILM) * TOKENS_PER_SECOND_OF_FILM
        return (1 + size // BYTES_PER_PAGE) * TOKENS_PER_PAGE


def packed_in(part: Mapping[str, Any]) -> Packed | None:
    """The bytes that a part of a chat, messages or responses request has; None for a part without."""
    kind = part.get("type")
    place = _PLACES.get(kind) if isinstance(kind, str) else None
    if place is None:
        return None
    within, field = place
    holder = part.get(within) if within else part
    if not isinstance(holder, Mapping) or (kind == "document" and holder.get("type") != "base64"):
        return None
    data = holder.get(field)
    if not isinstance(data, str) or not data or (field == "url" and not data.startswith("data:")):
        return None
    told = holder.get("media_type")
    if within == "input_audio":
        told = f"audio/{holder.get('format')}"
    elif told is None and str(holder.get("filename")).lower().endswith(_TEXT_ENDINGS):
        told = "text/plain"
    return _of(holder, within, field, told)


def packed_by_google(part: Mapping[str, Any]) -> Packed | None:
    """The bytes that a part of a generateContent request has; None for a part without."""
    media = part.get("inlineData")
    if not isinstance(media, Mapping) or not isinstance(media.get("data"), str) or not media["data"]:
        return None
    return _of(media, "inlineData", "data", media.get("mimeType"))


def _of(holder: Mapping[str, Any], within: str, field: str, told: Any) -> Packed | None:
    data, start = holder[field], 0
    if data.startswith("data:"):  # RFC 2397
        start = data.find(",", 0, _MOST_CHARACTERS_OF_A_HEAD) + 1
        head = data[: max(0, start - 1)]
        if not head.endswith(";base64"):
            return None
        told = head[5:-7] or told
    media_type = told.partition(";")[0].strip().lower() if isinstance(told, str) else ""
    return Packed(holder, within, field, start, media_type)
