"""A stream that says more than was held for: more money is held while it runs, or it is ended in time.

A call without a limit of its own holds more before it needs it; where no budget has room, it goes on and is booked in
full. A call with a limit was held for all of it. Under a strict budget there is always a limit, and a vendor that does
not keep to it is ended early, as at an output limit: what was produced is billed. docs/gateway.md, "What is held".

How many tokens have been said is not known while a stream runs. An event of output carries at least one, which is what
a stream is ended by, but where its vendor counts on the way (Google). Some vendors' carry many: what is held goes by
their size too, and may be a little too much.
"""

from __future__ import annotations

from routing.token_usage import TokenUsage
from spendhub.gateway.open_call import OpenCall

# More is held when this share of what is held has been said, so that the next events do not have to wait.
DUE_SHARE = 0.75
# Events that carry no output: a stream's beginning and end, and those of its blocks.
EVENTS_WITHOUT_OUTPUT = 32
# What an event has around its words, in every dialect we speak.
BYTES_AROUND = 500
# Of English some more (4 to 5 letters a token), of other scripts fewer, since JSON escapes many of them.
BYTES_PER_TOKEN = 5
# More is no words, but a picture, or sound.
MOST_TOKENS_OF_AN_EVENT = 1_000

# How answers and spans say that it was so.
OUT_OF_MONEY = "out_of_money"


class OutOfMoney(Exception):
    """A running answer has used up what a strict budget could hold for it. No error that anybody is told: its stream is
    ended as at an output limit."""


class Growth:
    """Watches one stream. `may_end_it` says whether it is ended should it say too much."""

    def __init__(self, call: OpenCall) -> None:
        self._call = call
        self.may_end_it = call.has_limit and call.is_strict
        self._held, self._worst = call.held_output_tokens, call.worst_output_tokens
        self._seen = 0
        if not call.has_limit:
            self._due_at: float = self._held * DUE_SHARE
        elif self.may_end_it:
            self._due_at = self._held + EVENTS_WITHOUT_OUTPUT
        else:
            self._due_at = float("inf")

    def is_due(self, events: int, size_bytes: int, told: TokenUsage | None = None) -> bool:
        """Notes that many more events, their size, and what the vendor has told of its output so far; True when
        something must be done about it."""
        if self.may_end_it:
            self._seen += events
        else:
            by_size = (size_bytes - events * BYTES_AROUND) // BYTES_PER_TOKEN
            self._seen += max(events, min(by_size, events * MOST_TOKENS_OF_AN_EVENT))
        if told is not None and told.output_tokens > self._seen:
            self._seen = told.output_tokens
        return self._seen > self._due_at

    async def hold_more(self) -> None:
        """Holds twice as much, or as much as has been said by now, where there is room; never more than its model can
        say. Raises OutOfMoney for a stream beyond a strict budget's limit."""
        if self._call.has_limit:
            raise OutOfMoney
        twice = 2 * self._held
        if not (await self._hold_up_to(max(twice, int(self._seen / DUE_SHARE) + 1)) or await self._hold_up_to(twice)):
            self._due_at = float("inf")

    async def _hold_up_to(self, output_tokens: int) -> bool:
        wanted = min(output_tokens, self._worst)
        if not self._held or wanted <= self._held or not await self._call.hold_more(wanted - self._held):
            return False
        self._held = wanted
        self._due_at = self._held * DUE_SHARE
        return True
