"""Answers of a shape that no vendor documents: an error of the vendor's, not of ours.

A reader takes an answer for what its vendor says it is, and looks no further: that is on the path of each event. Where
a number stands in place of a list, that fails here in whichever way; it is then told, retried and booked like any other
answer that makes no sense, and logged, in case that it is our reading which does not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, cast

from routing.conversation import Delta, Reply
from routing.errors import UpstreamError
from routing.upstreams.base import UsageReader

logger = logging.getLogger(__name__)

# What comes of taking one kind of JSON value for another.
_TAKEN_WRONG = (TypeError, AttributeError, ValueError, LookupError, OverflowError, RecursionError)


def guarded(reader: UsageReader) -> UsageReader:
    """`reader`, which raises UpstreamError for answers that it cannot make sense of, and nothing else."""
    return cast("UsageReader", _Guarded(reader))


def tokens_in(events: Iterable[Mapping[str, Any]], count: Callable[[Mapping[str, Any]], int]) -> int:
    """What `count` makes of all `events`: there is nothing to count in one of no known shape, and the others count."""
    total = 0
    for event in events:
        try:
            total += count(event)
        except _TAKEN_WRONG:
            continue
    return total


class _Guarded:
    __slots__ = ("_reader", "passes_over")

    def __init__(self, reader: UsageReader) -> None:
        self._reader = reader
        # It looks at bytes alone, many times per stream.
        self.passes_over = reader.passes_over

    def __getattr__(self, name: str) -> Any:
        """What the reader knows."""
        return getattr(self._reader, name)

    def read_body(self, body: bytes) -> dict[str, Any]:
        try:
            return self._reader.read_body(body)
        except _TAKEN_WRONG as error:
            _refuse(error)

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        try:
            return self._reader.read_event(data)
        except _TAKEN_WRONG as error:
            _refuse(error)

    def reply(self) -> Reply:
        try:
            return self._reader.reply()
        except _TAKEN_WRONG as error:
            _refuse(error)

    def deltas(self, data: bytes) -> Sequence[Delta]:
        try:
            return self._reader.deltas(data)
        except _TAKEN_WRONG as error:
            _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    logger.warning("a vendor's answer has no shape that we know", exc_info=error)
    raise UpstreamError("the vendor's answer has no shape that it documents") from error
