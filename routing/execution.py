"""A vendor's answer on its way: read whole or event by event, with what it says about usage, and how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from routing.breakers import Trial
from routing.errors import AnswerTooLate, UpstreamError
from routing.key_choice import HIDDEN
from routing.model_facts import ModelFacts
from routing.refused_answers import Ear
from routing.retries import is_failure
from routing.upstreams.base import UpstreamResponse, UsageReader
from routing.upstreams.decoders import EventDecoder, decoder_for
from routing.upstreams.sse import BrokenStream, SseDecoder, SseEvent, UnreadEvents, is_whole, noted, read_all

# A stream that says an error instead of an answer does so at once; a client that leaves is not noticed meanwhile.
FIRST_EVENTS_SECONDS = 2.0
# A vendor closes its stream right after its last event; only then can its connection be used again.
CLOSING_SECONDS = 1.0
# How long a stream that ends with its body may be silent once nothing is missing: it may still have sources to tell.
LINGERING_SECONDS = 15.0
# So much of a stream is kept back at most until it says a word: then its client gets it, whatever it is.
MAX_KEPT_BACK_BYTES = 1024 * 1024

Burst = Sequence[tuple[SseEvent, dict[str, Any] | None]]


@dataclass
class Execution:
    """A vendor's answer on its way; `reader` knows what it used once it has been read. Where the client and
    the vendor speak different wire formats, `is_translated`: the reader then also says what was said. `deadline`
    (monotonic seconds) is when it must have ended. `trial` is told how it ends, by `read`, `bursts` or `aclose`;
    `secret` (b"": nothing) is left out of what the vendor says; `another_reader` makes one more for a translated
    answer, where that is not what its dialect's usual one reads."""

    model: ModelFacts
    response: UpstreamResponse
    reader: UsageReader
    is_translated: bool = False
    deadline: float | None = None
    trial: Trial | None = None
    secret: bytes = field(default=b"", repr=False)
    another_reader: Callable[[], UsageReader] | None = None
    _body: bytes | None = None
    _early: list[Burst] = field(default_factory=list)
    _coming: asyncio.Future[bytes | None] | None = None
    _broken: UpstreamError | None = None
    _is_read: bool = False  # a stream, to its end, all of it in `_early`

    async def look_ahead(self, *, is_stream: bool, ear: Ear | None = None) -> None:
        """Reads a whole answer, or a stream's first events if they come soon: `read` and `bursts` give them later. With
        an `ear`, which then knows whether the answer is a refusal, it reads a stream up to its first words, or its end.

        Raises UpstreamError for an answer that is none although the vendor said 200: another one may be asked, since
        the client has seen nothing yet."""
        if not is_stream:
            self._body = await self.read()
            if ear is not None:
                ear.hear_whole(self._body)
            return
        try:
            if ear is not None:
                await self._keep_back(ear)
            else:
                await self._await_first_events(time.monotonic() + FIRST_EVENTS_SECONDS)
        except BaseException as error:
            self._tell_trial(error)
            await self.aclose()
            raise

    async def read(self) -> bytes:
        """The whole answer as the vendor wrote it. Raises UpstreamError when it is broken, or too late."""
        if self._body is not None:
            return self._body
        try:
            body = await self._whole_body()
            self._read_body(body)
        except BaseException as error:
            self._tell_trial(error)
            raise
        self._tell_trial(None)
        return body

    async def events(self) -> AsyncIterator[tuple[SseEvent, dict[str, Any] | None]]:
        """The stream's events one by one; see `bursts`."""
        async with aclosing(self.bursts()) as bursts:
            async for burst in bursts:
                for event in burst:
                    yield event

    async def bursts(self) -> AsyncGenerator[Burst]:
        """The stream's events, those that arrived together in one list, each with its parsed form when it
        carries usage (else None). Where nothing is translated, comments that came alone are a list without any.

        Raises UpstreamError when the connection breaks, the stream is not one, or it is too late; whatever came
        before has been handed on. Closes the response at the end, also when the caller leaves.
        """
        try:
            while self._early:
                yield self._early.pop(0)
            if self._coming is not None:
                chunk = await self._coming
                if chunk is not None and _says(burst := self._take(chunk)):
                    yield burst
            if self._broken is None and not self._is_read:
                async for chunk in self._chunks:
                    if _says(burst := self._take(chunk)):
                        yield burst
                    if self._broken is not None:
                        break
                else:
                    if burst := self._end():
                        yield burst
            if self._broken is not None:
                raise self._broken
            self._tell_trial(self._cut_short())
        except BaseException as error:
            self._tell_trial(error)
            raise
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Leaves the vendor, wherever its answer is; at an answer that was read nothing is left to do."""
        if self.trial is not None:
            self.trial.tells_nothing()
        if self._coming is not None and not self._coming.done():
            self._coming.cancel()
            await asyncio.wait((self._coming,))
        await self.response.aclose()

    @cached_property
    def _decoder(self) -> EventDecoder:
        return decoder_for(self.response.headers) or SseDecoder()

    @cached_property
    def _chunks(self) -> AsyncIterator[bytes]:
        chunks = self.response.aiter_bytes()
        if self.reader.ends_with_body:
            chunks = self._up_to_a_break(chunks)
        # The call's own deadline is no break: what it cuts off may have gone on.
        return chunks if self.deadline is None else _in_time(chunks, self.deadline, self.model)

    async def _up_to_a_break(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self._chunk_or_silence(chunks)) is not None:
                yield chunk
        except UpstreamError:
            if not self._may_break():
                raise

    async def _chunk_or_silence(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """None at the end; also where nothing is missing, and nothing comes for a while: some connections linger."""
        if not self._may_break():
            return await anext(chunks, None)
        try:
            async with asyncio.timeout(LINGERING_SECONDS) as limit:
                return await anext(chunks, None)
        except TimeoutError:
            if not limit.expired():
                raise
            return None

    def _may_break(self) -> bool:
        """Whether nothing is missing from the stream if its connection breaks (see UsageReader, `ends_with_body`)."""
        reader = self.reader
        return reader.ends_with_body and reader.finish_reason is not None and bool(reader.missing_end())

    def _take(self, chunk: bytes) -> Burst:
        """The events that end in `chunk`. What breaks the stream is kept in `_broken`, to be raised after them."""
        try:
            complete = self._decoder.take(chunk)
        except BrokenStream as error:
            self._broken = UpstreamError(f"{self.model.provider.name}: {error}")
            return []
        return self._read_events(complete) if complete else []

    def _read_events(self, complete: bytes) -> Burst:
        burst: list[tuple[SseEvent, dict[str, Any] | None]] = []
        try:
            if self.secret and self.secret in complete:
                complete = complete.replace(self.secret, HIDDEN)
            if not self.is_translated and self.reader.passes_over(complete):
                return UnreadEvents(complete)
            events, comments = read_all(complete)
            for event in events:
                burst.append((event, self.reader.read_event(event.data)))
        except UpstreamError as error:
            self._broken = error
            return burst
        if not comments or self.is_translated:
            return burst
        if not burst:
            return UnreadEvents(comments)
        last, told = burst[-1]
        return [*burst[:-1], (noted(last, after=comments), told)]

    def _end(self) -> Burst:
        """The events that the connection's end completes: one without its blank line, one that a vendor leaves out."""
        try:
            left = self._decoder.end()
        except BrokenStream as error:
            # No word of the vendor's, as `_broken` is: the connection ended in the middle of one.
            if not self._may_break():
                raise UpstreamError(f"{self.model.provider.name}: {error}") from error
            left = b""
        burst = self._read_events(left) if left else []
        if self._broken is None and not self.reader.is_complete and (end := self.reader.missing_end()):
            burst = [*burst, (SseEvent(end), self.reader.read_event(end))]
        return burst

    async def _whole_body(self) -> bytes:
        try:
            async with asyncio.timeout(None if self.deadline is None else seconds_until(self.deadline)):
                body = await self.response.aread()
        except TimeoutError:
            raise too_late(self.model) from None
        finally:
            await self.response.aclose()
        return body.replace(self.secret, HIDDEN) if self.secret and self.secret in body else body

    def _read_body(self, body: bytes) -> None:
        try:
            self.reader.read_body(body)
        except UpstreamError as error:
            self._broken = error
            raise

    def _cut_short(self) -> UpstreamError | None:
        """What is wrong with a stream whose connection has ended as it should, None where its last word was said."""
        if self.reader.is_complete or self.reader.usage is not None:
            return None
        return UpstreamError(f"{self.model.provider.name} ended its stream in the middle")

    def _tell_trial(self, error: BaseException | None) -> None:
        """Says how the answer ended: what the vendor says itself (`_broken`) may be about what this client has asked,
        and breakers are everybody's. A stream whose last word has been said is whole, however its connection ends."""
        trial = self.trial
        if trial is None:
            return
        if error is None or (self.reader.is_complete and error is not self._broken):
            trial.succeeded(time.time())
        elif isinstance(error, UpstreamError) and error is not self._broken and is_failure(error):
            trial.failed(time.time())
        else:
            trial.tells_nothing()

    async def _await_first_events(self, until: float) -> None:
        while True:
            self._coming = asyncio.ensure_future(anext(self._chunks, None))
            await asyncio.wait((self._coming,), timeout=seconds_until(until))
            if not self._coming.done():
                return  # it thinks: `bursts` goes on waiting
            chunk, self._coming = self._coming.result(), None
            burst = self._end() if chunk is None else self._take(chunk)
            if _says(burst):
                self._early.append(burst)
            if any(is_whole(event.data) for event, _ in burst):
                return
            if self._broken is not None:
                raise self._broken
            if chunk is None:
                raise UpstreamError(f"{self.model.provider.name} ended its stream before it had begun")

    async def _keep_back(self, ear: Ear) -> None:
        kept, closes_at = 0, None
        while not (self._is_read or ear.has_begun):
            if closes_at is None and self.reader.is_complete:
                closes_at = time.monotonic() + CLOSING_SECONDS
            chunk = await self._next_chunk(closes_at)
            self._is_read = chunk is None
            burst = self._end() if chunk is None else self._take(chunk)
            if self._broken is not None:
                raise self._broken
            if _says(burst):
                self._early.append(burst)
                ear.hear(burst)
            kept += len(chunk or b"")
            if kept > MAX_KEPT_BACK_BYTES:
                ear.has_begun = True
        if self._is_read:
            cut_short = self._cut_short()
            if cut_short is not None:
                raise cut_short
            self._tell_trial(None)
            await self.aclose()

    async def _next_chunk(self, closes_at: float | None) -> bytes | None:
        """None at the end. Of a stream whose last word has been said it is that from `closes_at` on, in monotonic
        seconds, whatever else its vendor sends."""
        if closes_at is None:
            return await anext(self._chunks, None)
        left = seconds_until(closes_at)
        if not left:
            return None
        try:
            async with asyncio.timeout(left):
                return await anext(self._chunks, None)
        except (TimeoutError, UpstreamError):
            return None


def seconds_until(deadline: float) -> float:
    """How long it is until a moment in monotonic seconds; 0 when it is over."""
    return max(0.0, deadline - time.monotonic())


def too_late(model: ModelFacts) -> AnswerTooLate:
    """The error of an answer that takes longer than its caller, or its route, allows."""
    return AnswerTooLate(f"{model.provider.name} did not finish within the time that the call may take")


def _says(burst: Burst) -> bool:
    """Whether there is anything to hand on: events, or comments alone, which keep a connection alive."""
    return isinstance(burst, UnreadEvents) or bool(burst)


async def _in_time(chunks: AsyncIterator[bytes], deadline: float, model: ModelFacts) -> AsyncIterator[bytes]:
    # Bytes that are there already never let the loop's clock in, so it is read each time.
    while left := seconds_until(deadline):
        try:
            async with asyncio.timeout(left):
                chunk = await anext(chunks, None)
        except TimeoutError:
            break
        if chunk is None:
            return
        yield chunk
    raise too_late(model)
