"""Server-sent events, however the network cuts them up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.upstreams import sse
from routing.upstreams.sse import BrokenStream, NotedEvent, SseDecoder, SseEvent, events_in, read_all


def decode(*chunks: bytes) -> list[SseEvent]:
    decoder = SseDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return [*events, *events_in(decoder.end())]


texts = st.lists(
    st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), min_size=1), min_size=1
)


@given(texts, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 400)))
def test_events_are_the_same_wherever_chunks_end(words: list[str], end_of_line: bytes, cuts: list[int]) -> None:
    stream = b"".join(b"data: " + word.encode() + end_of_line * 2 for word in words)
    edges = sorted([0, len(stream), *(min(cut, len(stream)) for cut in cuts)])  # some chunks are empty
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    assert [event.data.decode() for event in decode(*chunks)] == words


def test_lines_of_one_event_are_joined_and_what_is_no_data_stands_before_them() -> None:
    stream = b"\xef\xbb\xbf: hello\nevent: delta\ndata: one\ndata:two\nid: 7\n\n\ndata\n\n"
    noted = NotedEvent(b"one\ntwo", "delta", before=b": hello\nid: 7\n")
    assert decode(stream) == [noted, SseEvent(b"")]
    assert noted.encode() == b": hello\nid: 7\nevent: delta\ndata: one\ndata: two\n\n"


def test_comments_between_events_stand_before_the_next_one_and_are_left_behind_the_last() -> None:
    said = b": one\n\ndata: 1\n\n\n\n: two\n\nretry: 9\n\ndata: 2\n\n"
    assert read_all(said + b": three\n\n") == (
        [NotedEvent(b"1", before=b": one\n\n"), NotedEvent(b"2", before=b": two\n\nretry: 9\n\n")],
        b": three\n\n",
    )
    assert read_all(b": alone\n\n") == ([], b": alone\n\n")
    events, _ = read_all(said)
    assert b"".join(event.encode() for event in events) == said.replace(b"\n\n\n\n", b"\n\n")


def test_what_was_decoded_can_be_sent_on() -> None:
    event = SseEvent(b"one\ntwo", "delta")
    assert event.encode() == b"event: delta\ndata: one\ndata: two\n\n"
    assert decode(event.encode(), SseEvent(b"x").encode()) == [event, SseEvent(b"x")]


@pytest.mark.parametrize(
    ("rest", "last"),
    [
        (b"data: [DONE]", SseEvent(b"[DONE]")),
        (b"data: [DONE]\r", SseEvent(b"[DONE]")),
        (b'data: {"a":{}}\n', SseEvent(b'{"a":{}}')),
        (b'event: stop\r\ndata: {"type":\r\ndata: "stop"}\r\n', SseEvent(b'{"type":\n"stop"}', "stop")),
    ],
)
def test_a_last_event_without_its_blank_line_is_read_where_it_is_seen_to_be_whole(rest: bytes, last: SseEvent) -> None:
    assert decode(b"data: first\n\n", rest) == [SseEvent(b"first"), last]
    assert decode(rest) == [last]
    decoder = SseDecoder()
    decoder.feed(b"\xef\xbb\xbf" + rest)
    assert (decoder.end(), decoder.end()) == (last.encode(), b"")


@pytest.mark.parametrize(
    "rest", [b"data: half", b"data: half\n", b'data: {"a":{}', b"data: [DONE", b"data: 1", b"event: x\ndat"]
)
def test_a_stream_that_ends_inside_an_event_is_broken(rest: bytes) -> None:
    with pytest.raises(BrokenStream):
        decode(b"data: whole\n\n", rest)


def test_an_event_beyond_all_reason_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    with pytest.raises(BrokenStream):
        decode(b"data: " + b"x" * 200)
    with pytest.raises(BrokenStream):
        decode(*[b"data: " + b"x" * 50 + b"\n"] * 3)
    with pytest.raises(BrokenStream):
        decode(*[b": " + b"x" * 50 + b"\n"] * 3)
