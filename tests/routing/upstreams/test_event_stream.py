"""Amazon's binary event streams, however the network cuts them up and whatever breaks in them."""

from __future__ import annotations

from itertools import pairwise
from struct import pack
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from routing.upstreams.bedrock.event_stream import MAX_PAYLOAD_BYTES, EventStreamDecoder
from routing.upstreams.decoders import decoder_for
from routing.upstreams.sse import BrokenStream, SseDecoder, SseEvent, events_in
from tests.fakes.bedrock_upstream import exception, message

TEXT = {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"}


def decode(*chunks: bytes) -> list[SseEvent]:
    decoder = EventStreamDecoder()
    events = [event for chunk in chunks for event in events_in(decoder.take(chunk))]
    decoder.end()
    return events


def raw_message(headers: bytes, payload: bytes) -> bytes:
    """A message with headers as they are given."""
    prelude = pack("!II", 16 + len(headers) + len(payload), len(headers))
    whole = prelude + pack("!I", crc32(prelude)) + headers + payload
    return whole + pack("!I", crc32(whole))


def header(name: bytes, kind: int, value: bytes) -> bytes:
    return pack("!B", len(name)) + name + pack("!B", kind) + value


EVENT_TYPE = header(b":event-type", 7, pack("!H", 8) + b"metadata")


def test_a_message_is_an_event_of_its_name() -> None:
    assert decode(message(TEXT, '{"delta":{"text":"ä"}}'.encode())) == [
        SseEvent('{"contentBlockDelta":{"delta":{"text":"ä"}}}'.encode())
    ]
    assert decode(exception("throttlingException", "slow down")) == [
        SseEvent(b'{"throttlingException":{"message":"slow down"}}')
    ]


def test_an_error_that_no_model_knows_has_its_words_in_headers() -> None:
    error = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": 'it said "no"'}
    assert decode(message(error, b"")) == [
        SseEvent(b'{"error":{"type":"InternalFailure","message":"it said \\"no\\""}}')
    ]


def test_line_breaks_in_a_payload_break_no_event() -> None:
    assert decode(message(TEXT, b'{\r\n  "a": 1,\n\n  "b": "x\\n"\n}\n')) == [
        SseEvent(b'{"contentBlockDelta":{    "a": 1,    "b": "x\\n" }}')
    ]
    assert decode(message(TEXT, b"")) == [SseEvent(b'{"contentBlockDelta":{}}')]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.lists(st.integers(0, 900), max_size=12))
def test_messages_are_the_same_wherever_chunks_end_and_the_same_as_botocore_reads(
    payloads: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(message(TEXT, b'"' + payload.hex().encode() + b'"') for payload in payloads)
    edges = sorted([0, len(stream), *(min(cut, len(stream)) for cut in cuts)])  # some chunks are empty
    theirs = EventStreamBuffer()
    theirs.add_data(stream)
    assert decode(*(stream[start:end] for start, end in pairwise(edges))) == [
        SseEvent(b'{"' + each.headers[":event-type"].encode() + b'":' + each.payload + b"}") for each in theirs
    ]


def test_headers_of_every_type_are_passed_over() -> None:
    others = (
        header(b"yes", 0, b"") + header(b"no", 1, b"") + header(b"byte", 2, b"\1") + header(b"short", 3, b"\0\1")
        + header(b"int", 4, b"\0" * 4) + header(b"long", 5, b"\0" * 8) + header(b"bytes", 6, b"\0\2ab")
        + header(b"time", 8, b"\0" * 8) + header(b"uuid", 9, b"\0" * 16)
    )  # fmt: skip
    assert decode(raw_message(others + EVENT_TYPE, b"{}")) == [SseEvent(b'{"metadata":{}}')]


WHOLE = message(TEXT, b'{"a":1}')


def flipped(at: int) -> bytes:
    return WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :]


@pytest.mark.parametrize("at", range(len(WHOLE)))
def test_no_bit_is_wrong_unnoticed(at: int) -> None:
    with pytest.raises(BrokenStream, match="checksum"):
        decode(flipped(at))


@pytest.mark.parametrize(
    "broken",
    [
        raw_message(header(b":event-type", 7, pack("!H", 99) + b"metadata"), b"{}"),
        raw_message(header(b":event-type", 10, b""), b"{}"),
        raw_message(header(b":event-type", 7, pack("!H", 1) + b"\xff"), b"{}"),
        raw_message(b"\x0b:event-type", b"{}"),
        raw_message(header(b":event-type", 7, b"\0"), b"{}"),
        raw_message(b"", b"{}"),
        message({":event-type": 'a":1,"b'}, b"{}"),
    ],
)
def test_headers_that_make_no_sense_are_a_broken_stream(broken: bytes) -> None:
    with pytest.raises(BrokenStream):
        decode(broken)


@pytest.mark.parametrize(
    ("total", "headers"), [(16 + MAX_PAYLOAD_BYTES + 1, 0), (200_000, 150_000), (15, 0), (20, 5), (0, 0)]
)
def test_a_message_of_an_impossible_length_is_refused_before_it_has_come(total: int, headers: int) -> None:
    prelude = pack("!II", total, headers)
    with pytest.raises(BrokenStream, match=f"an event of {total} bytes"):
        EventStreamDecoder().take(prelude + pack("!I", crc32(prelude)))


def test_what_was_whole_comes_before_what_is_broken() -> None:
    decoder = EventStreamDecoder()
    assert len(events_in(decoder.take(WHOLE + WHOLE + flipped(20) + WHOLE))) == 2
    with pytest.raises(BrokenStream):
        decoder.take(WHOLE)
    with pytest.raises(BrokenStream):
        decoder.end()


@pytest.mark.parametrize("cut", [1, 11, 12, len(WHOLE) - 1])
def test_a_stream_that_ends_inside_a_message_is_broken(cut: int) -> None:
    with pytest.raises(BrokenStream, match="inside"):
        decode(WHOLE, WHOLE[:cut])


def test_the_answers_content_type_says_which_decoder_reads_it() -> None:
    assert isinstance(decoder_for({"content-type": "Text/Event-Stream; charset=utf-8"}), SseDecoder)
    assert isinstance(decoder_for({}), SseDecoder)
    assert isinstance(decoder_for({"content-type": "application/vnd.amazon.eventstream"}), EventStreamDecoder)
    assert decoder_for({"content-type": "application/json"}) is None
