"""Documents, sounds and films that a request brings packed, as base64: how many tokens they are taken for."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from routing.tokens import at_most, count_chat_tokens, count_tokens, estimate_input_tokens, packed_tokens_in

MEGABYTE = 1_000_000
# What a message says around its parts: 3 for the request, 4 for the message.
AROUND = 7
TEXT = "zz " * 1_000


def packed(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def url(media_type: str, size: int) -> str:
    return f"data:{media_type};base64,{packed(size)}"


def chat(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def responses(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


def googles(*parts: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def chat_file(media_type: str, size: int = MEGABYTE, **beside: Any) -> dict[str, Any]:
    return {"type": "file", "file": {"file_data": url(media_type, size), **beside}}


def chat_sound(form: str, size: int = MEGABYTE) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": packed(size), "format": form}}


def document(size: int = MEGABYTE, media_type: str = "application/pdf") -> dict[str, Any]:
    return {"type": "document", "source": {"type": "base64", "media_type": media_type, "data": packed(size)}}


def inline(media_type: str, size: int = MEGABYTE) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": packed(size)}}


def input_file(media_type: str, size: int = MEGABYTE) -> dict[str, Any]:
    return {"type": "input_file", "file_data": url(media_type, size)}


# Of a megabyte. 25 pages of 40,000 bytes and one more, at 3,000 tokens.
PDF = 26 * 3_000
# 62 seconds of 16,000 bytes and one more, at 32 tokens; 125 of 8,000; 500 of 2,000.
WAV, MP3, OGG = 63 * 32, 126 * 32, 501 * 32
# 10 seconds of 100,000 bytes and one more, at 297 tokens.
MP4 = 11 * 297


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (chat(chat_file("application/pdf")), PDF),
        (chat(chat_file("application/pdf", filename="abc.pdf")), PDF + 3),
        (chat({"type": "file", "file": {"file_data": packed(MEGABYTE), "filename": "abc.pdf"}}), PDF + 3),
        (chat(chat_sound("wav")), WAV + 1),
        (chat(chat_sound("mp3")), MP3 + 1),
        # Qwen's clients send a sound as an address that has it all.
        (chat({"type": "input_audio", "input_audio": {"data": url("audio/mpeg", MEGABYTE)}}), MP3),
        (chat({"type": "input_audio", "input_audio": {"data": f"data:;base64,{packed(MEGABYTE)}", "format": "wav"}}), WAV + 1),
        (chat({"type": "audio_url", "audio_url": {"url": url("audio/ogg", MEGABYTE)}}), OGG),
        (chat({"type": "video_url", "video_url": {"url": url("video/mp4", MEGABYTE)}}), MP4),
        (chat(document()), PDF + 5),
        (chat({**document(), "title": "abcdef", "citations": {"enabled": True}}), PDF + 5 + 2 + 8),
        (chat({"type": "tool_result", "tool_use_id": "abc", "content": [document()]}), 1 + PDF + 5),
        (
            chat({"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result", "content": document()}}),
            PDF + 5,
        ),
        (responses(input_file("application/pdf")), PDF),
        ({"input": [{"type": "function_call_output", "output": [input_file("application/pdf")]}]}, PDF),
        ({"input": [{"type": "custom_tool_call_output", "output": [input_file("application/pdf")]}]}, PDF),
        (googles(inline("application/pdf")), PDF + 5),
        (googles(inline("audio/wav")), WAV + 4),
        (googles(inline("audio/mp3")), MP3 + 4),
        (googles(inline("audio/ogg; codecs=opus")), OGG + 9),
        (googles(inline("video/mp4")), MP4 + 4),
        (googles({"functionResponse": {"name": "abc", "parts": [inline("application/pdf")]}}), 1 + PDF + 5),
    ],
)  # fmt: skip
def test_a_packed_document_sound_or_film_is_taken_for_what_its_size_usually_means(
    body: dict[str, Any], tokens: int
) -> None:
    assert estimate_input_tokens(body) == AROUND + tokens


@pytest.mark.parametrize(
    ("size", "tokens"), [(1, 3_000), (39_999, 3_000), (40_001, 6_000), (100_000, 9_000), (5 * MEGABYTE, 378_000)]
)
def test_a_document_has_a_page_at_least(size: int, tokens: int) -> None:
    assert estimate_input_tokens(chat(chat_file("application/pdf", size))) == AROUND + tokens
    # What else is no text: office files.
    assert estimate_input_tokens(chat(chat_file("application/vnd.ms-excel", size))) == AROUND + tokens


@pytest.mark.parametrize(
    ("form", "tokens"),
    [
        ("wav", WAV), ("x-wav", WAV), ("aiff", WAV), ("L16", WAV), ("mpeg", MP3), ("mp4", MP3), ("aac", MP3),
        ("flac", MP3), ("opus", OGG), ("webm", OGG), ("of-tomorrow", OGG),
    ],
)  # fmt: skip
def test_a_sound_is_as_long_as_its_format_makes_it(form: str, tokens: int) -> None:
    assert estimate_input_tokens(chat(chat_file(f"audio/{form}"))) == AROUND + tokens
    assert estimate_input_tokens(chat(chat_file(f"audio/{form}", 1))) == AROUND + 32


@pytest.mark.parametrize(
    "body",
    [
        chat({"type": "file", "file": {"file_data": f"data:text/plain;base64,{base64.b64encode(TEXT.encode()).decode()}"}}),
        responses({"type": "input_file", "file_data": f"data:text/csv;base64,{base64.b64encode(TEXT.encode()).decode()}"}),
        responses({"type": "input_file", "file_data": f"data:application/json;base64,{base64.b64encode(TEXT.encode()).decode()}"}),
    ],
)  # fmt: skip
def test_a_packed_text_counts_as_the_text_that_it_is(body: dict[str, Any]) -> None:
    assert estimate_input_tokens(body) == AROUND + 1_000  # 3,000 bytes, as every text


def test_a_packed_text_of_googles_counts_as_the_text_that_it_is() -> None:
    part = {"inlineData": {"mimeType": "text/plain", "data": base64.b64encode(TEXT.encode()).decode()}}
    assert estimate_input_tokens(googles(part)) == AROUND + 1_000 + 4
    # In the alphabet of addresses too.
    words = "???>>>" * 100
    part = {"inlineData": {"mimeType": "text/plain", "data": base64.urlsafe_b64encode(words.encode()).decode()}}
    assert estimate_input_tokens(googles(part)) == AROUND + count_tokens(words) + 4


def test_what_is_no_text_in_base64_counts_as_it_stands() -> None:
    for data in ("QQ==" + "QUFB" * 1_000, base64.b64encode(b"\xff" * 3_000).decode()):
        part = {"inlineData": {"mimeType": "text/plain", "data": data}}
        assert estimate_input_tokens(googles(part)) >= AROUND + len(data) // 3


def test_a_text_by_its_files_name_counts_as_the_text_that_it_is() -> None:
    part = {"type": "input_file", "file_data": base64.b64encode(TEXT.encode()).decode(), "filename": "abc.md"}
    assert estimate_input_tokens(responses(part)) == AROUND + 1_000 + 2 + 1


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": TEXT}},
        {"type": "file", "file": {"file_data": {"text": TEXT}}},
        {"type": "file", "file": TEXT},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": TEXT}},
        {"type": "input_audio", "input_audio": {"data": "AA", "transcript": TEXT}},
        {"type": "file", "file": {"file_data": "data:text/plain," + TEXT}},
        {"type": "video_url", "video_url": {"url": "https://x/" + TEXT}},
        {"type": "file", "file": {"file_data": "AA"}, "text": TEXT},
        # No base64 at all.
        {"type": "file", "file": {"file_data": "data:text/plain;base64,A" + "é" * 3_000}},
    ],
)
def test_no_text_beside_it_or_in_its_place_is_free(part: dict[str, Any]) -> None:
    assert estimate_input_tokens(chat(part)) >= 1_000


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (
            {"input": [{"type": "computer_call_output", "call_id": "abc", "output": {
                "type": "computer_screenshot", "image_url": url("image/png", MEGABYTE)}}]},
            1 + 1_500,
        ),
        ({"input": [{"type": "image_generation_call", "id": "abc", "result": packed(MEGABYTE)}]}, 1 + 1_500),
        (googles({"functionResponse": {"name": "abc", "parts": [inline("image/png")]}}), 1 + 1_500),
        (chat({"type": "document", "source": {"type": "content", "content": [
            {"type": "image", "source": {"type": "base64", "data": packed(MEGABYTE)}}, {"type": "text", "text": "abc"},
        ]}}), 1_500 + 1),
        (responses(input_file("image/png")), 1_500),
    ],
)  # fmt: skip
def test_a_picture_is_a_picture_wherever_it_stands(body: dict[str, Any], tokens: int) -> None:
    assert estimate_input_tokens(body) == AROUND + tokens


def test_the_sandbox_and_bills_without_usage_count_the_same() -> None:
    said = {"type": "text", "text": "abcd efgh"}
    parts = [chat_file("application/pdf"), chat_sound("wav"), said]
    assert count_chat_tokens(chat(*parts)) == AROUND + PDF + WAV + 2
    text = {"type": "file", "file": {"file_data": f"data:text/plain;base64,{base64.b64encode(b'a b c').decode()}"}}
    assert count_chat_tokens(chat(text)) == AROUND + 3


def test_what_is_packed_is_known_apart() -> None:
    pictures = [{"type": "image_url", "image_url": {"url": "https://x"}}]
    assert (
        packed_tokens_in(chat(chat_file("application/pdf"), chat_sound("wav"), {"type": "text", "text": TEXT}))
        == PDF + WAV
    )
    assert (
        packed_tokens_in(googles(inline("audio/ogg"), {"functionResponse": {"parts": [inline("video/mp4")]}}))
        == OGG + MP4
    )
    # Texts and pictures are not.
    assert packed_tokens_in(chat(chat_file("text/plain"), *pictures)) == 0
    assert packed_tokens_in(googles(inline("text/plain"), inline("image/png"))) == 0


@pytest.mark.parametrize(
    ("tokens", "body", "context", "found"),
    [
        (200_000, chat(chat_file("application/pdf", 8 * MEGABYTE)), 200_000, 200_000),
        # 201 pages.
        (603_000 + 7, chat(chat_file("application/pdf", 8 * MEGABYTE)), 200_000, 200_000),
        (603_000 + 300_000, chat(chat_file("application/pdf", 8 * MEGABYTE)), 200_000, 300_000),
        (603_000 + 7, chat(chat_file("application/pdf", 8 * MEGABYTE)), None, 603_007),
        # What is said itself is never taken for less.
        (300_000, chat({"type": "text", "text": "long"}), 200_000, 300_000),
    ],
)  # fmt: skip
def test_what_is_packed_takes_no_more_than_a_models_context_leaves(
    tokens: int, body: dict[str, Any], context: int | None, found: int
) -> None:
    assert at_most(tokens, body, context) == found


def test_a_document_is_not_read_to_be_estimated() -> None:
    """Its length is enough: a hundred of them take less time than the text of one would."""
    body = chat(chat_file("application/pdf", 5 * MEGABYTE))
    began = time.thread_time()
    for _ in range(100):
        estimate_input_tokens(body)
    of_packed = time.thread_time() - began
    text = json.dumps(body)
    began = time.thread_time()
    estimate_input_tokens({"input": text})
    assert of_packed < time.thread_time() - began
