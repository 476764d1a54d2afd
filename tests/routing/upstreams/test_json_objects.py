"""What vendors write is read as it stands, but for halves of characters: each is read as U+FFFD."""

from __future__ import annotations

import pytest

from routing.upstreams.json_objects import NoJson, is_whole_call, object_in, readable_object


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (rb"\ud83d\ude80", "\U0001f680"),
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\ude80 late", "\ufffd late"),
        (rb"\ud83d\ud83d\ude80", "\ufffd\U0001f680"),
        (rb"\uD83D \uDE80\n", "\ufffd \ufffd\n"),
        # A backslash, and words behind it.
        (rb"\\ud83d \ud83d", "\\ud83d \ufffd"),
        (rb"\\\ud83d", "\\\ufffd"),
        (b"na\xc3\xafve \xf0\x9f", "na\u00efve \ufffd"),
        (b"\xed\xa0\xbd", "\ufffd\ufffd\ufffd"),
    ],
)
def test_half_a_character_is_read_as_one_that_is_none(written: bytes, text: str) -> None:
    assert object_in(b'{"text":"' + written + b'"}') == {"text": text}


def test_half_a_character_beside_a_number_that_is_none_is_read_too() -> None:
    assert object_in(rb'{"a":NaN,"b":"\ud83d"}') == {"a": "NaN", "b": "\ufffd"}


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a":"\\ud8', b'{"a":"\\ud8zz"}', b"7", b"[]", b"[DONE]", b"\xff", b'{"a":' * 9_999]
)
def test_anything_but_an_object_is_none(data: bytes) -> None:
    with pytest.raises(NoJson):
        object_in(data)
    assert readable_object(data) is None


def test_a_call_whose_arguments_end_in_half_a_character_is_whole_once_they_are_closed() -> None:
    assert is_whole_call(r'{"a":"\ud83d"}')
    assert not is_whole_call(r'{"a":"\ud83d')
