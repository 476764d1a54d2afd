"""When a running stream holds more: by its events where each carries a token, by their size where they carry many."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from routing.token_usage import TokenUsage
from spendhub.gateway.growth import Growth, OutOfMoney

HELD, WORST = 1_024, 8_000
THIN = 300  # bytes of an event of one word


class Call(SimpleNamespace):
    """A running call that notes how much more was held for it, or has no room (`has_room`)."""

    def __init__(self, **facts: Any) -> None:
        usual = {"has_limit": False, "is_strict": False, "held_output_tokens": HELD, "worst_output_tokens": WORST}
        super().__init__(**usual | {"has_room": True} | facts, held_more=[])

    async def hold_more(self, output_tokens: int) -> bool:
        if self.has_room:
            self.held_more.append(output_tokens)
        return bool(self.has_room)


def held_after(call: Call, bursts: list[tuple[int, int]], told: int | None = None) -> list[int]:
    """What was held more, in order, by the end of bursts of (events, bytes), whose vendor has `told` so much output."""
    so_far = None if told is None else TokenUsage(output_tokens=told)
    growth: Any = Growth(call)  # type: ignore[arg-type]  # as much of a call as it looks at

    async def run() -> None:
        for events, size in bursts:
            if growth.is_due(events, size, so_far):
                await growth.hold_more()

    asyncio.run(run())
    return list(call.held_more)


def test_more_is_held_before_what_is_held_has_been_said() -> None:
    assert held_after(Call(), [(1, THIN)] * 768) == []
    assert held_after(Call(), [(1, THIN)] * 769) == [1_024]
    assert held_after(Call(), [(1, THIN)] * 1_537) == [1_024, 2_048]


def test_events_of_many_words_count_by_their_size() -> None:
    assert held_after(Call(), [(1, 2_500)]) == []
    assert held_after(Call(), [(1, 2_500)] * 2) == [1_024]


def test_a_burst_that_says_more_than_twice_what_is_held_is_held_at_once() -> None:
    assert held_after(Call(), [(3, 3 * 500 + 5 * 3_000)]) == [4_001 - HELD]


def test_a_picture_in_an_event_is_not_taken_for_words() -> None:
    assert held_after(Call(), [(1, 2_000_000)]) == [1_024]


def test_where_there_is_no_room_for_all_that_was_said_twice_as_much_is_held() -> None:
    call = Call()
    room = 1_500

    async def hold_more(output_tokens: int) -> bool:
        if output_tokens <= room:
            call.held_more.append(output_tokens)
        return output_tokens <= room

    call.hold_more = hold_more
    assert held_after(call, [(3, 3 * 500 + 5 * 3_000)]) == [1_024]


def test_no_more_is_held_than_the_model_can_say() -> None:
    assert held_after(Call(), [(9, 1_000_000)] * 3) == [WORST - HELD]
    assert held_after(Call(worst_output_tokens=HELD), [(1, 1_000_000)] * 3) == []


def test_what_the_vendor_counts_on_the_way_is_believed() -> None:
    assert held_after(Call(), [(1, THIN)], told=768) == []
    assert held_after(Call(), [(1, THIN)], told=769) == [1_024]
    with pytest.raises(OutOfMoney):
        held_after(Call(has_limit=True, is_strict=True), [(1, THIN)], told=HELD + 33)


def test_where_no_budget_has_room_it_is_asked_once() -> None:
    assert held_after(Call(has_room=False), [(1, 1_000_000)] * 3) == []


def test_a_limit_of_its_own_was_held_for() -> None:
    assert held_after(Call(has_limit=True), [(1, 1_000_000)] * 3) == []


def test_a_strict_budget_ends_a_stream_by_its_events_alone() -> None:
    strict = Call(has_limit=True, is_strict=True)
    assert held_after(strict, [(1, 1_000_000)] * (HELD + 32)) == []
    with pytest.raises(OutOfMoney):
        held_after(strict, [(1, THIN)] * (HELD + 33))
