"""Answers of a shape that no vendor documents: an error of the vendor's, not of ours.

A reader takes an answer for what its vendor says it is, and looks no further: that is on the path of each event. Where
a number stands in place of a list, that fails here in whichever way; it is then told, retried and booked like any other
answer that makes no sense, and logged, in case that it is our reading which does not.

An event of a stream that is no JSON at all says nothing: the stream goes on as if it were not there. To clients of its
vendor's own format it is passed on as it came.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, cast

from routing.conversation import Delta, Reply
from routing.errors import UpstreamError
from routing.model_facts import ModelFacts
from routing.upstreams.base import UsageReader
from routing.upstreams.json_objects import NoJson
from routing.upstreams.rare_warnings import warn_of

logger = logging.getLogger(__name__)

# What comes of taking one kind of JSON value for another.
_TAKEN_WRONG = (TypeError, AttributeError, ValueError, LookupError, OverflowError, RecursionError)


def guarded(reader: UsageReader, model: ModelFacts | None = None) -> UsageReader:
    """`reader`, which raises UpstreamError for answers that it cannot make sense of, and nothing else. The log says
    which `model` has told usage that cannot be, or an event that is no JSON."""
    told_by = f"{model.provider.name}'s {model.name}" if model is not None else ""
    if told_by:
        reader.logs_as(told_by)
    return cast("UsageReader", _Guarded(reader, told_by))


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
    __slots__ = ("_logs_as", "_reader", "passes_over")

    def __init__(self, reader: UsageReader, logs_as: str) -> None:
        self._reader = reader
        self._logs_as = logs_as
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
        except NoJson:
            self._note_no_json()
            return None
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
        except NoJson:
            self._note_no_json()
            return ()
        except _TAKEN_WRONG as error:
            _refuse(error)

    def _note_no_json(self) -> None:
        warn_of(self._logs_as, "sent an event that is no JSON, which is not read")


def _refuse(error: Exception) -> NoReturn:
    logger.warning("a vendor's answer has no shape that we know", exc_info=error)
    raise UpstreamError("the vendor's answer has no shape that it documents") from error
