"""Of a translated stream that tells several answers to one question at once: whose turn it is, and when all is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from routing.conversation import Began, Delta, Ended, Finish
from routing.upstreams.base import UsageReader
from spendhub.gateway.dialect import Burst


class Answers:
    """The `asked` answers of a stream that `reader` reads. `is_done` says that the vendor has said all of them.

    What a vendor tells beyond them was not asked for, and is left out. `endings` says why each has ended, so far.
    """

    def __init__(self, reader: UsageReader, asked: int = 1) -> None:
        self.is_done = False
        self.endings: dict[int, Ended] = {}
        self._reader = reader
        self._asked = asked

    def deltas(self, burst: Burst) -> Iterator[Delta]:
        """What the events add; endings are kept too."""
        for event, _ in burst:
            for delta in self._reader.deltas(event.data):
                if isinstance(delta, Began):
                    yield delta
                elif delta.choice < self._asked:
                    if isinstance(delta, Ended):
                        self.endings[delta.choice] = delta
                        self.is_done = self.is_done or delta.is_last or len(self.endings) >= self._asked
                    yield delta
                elif isinstance(delta, Ended):
                    self.is_done = self.is_done or delta.is_last

    def cut_short(self, begun: Iterable[int]) -> None:
        """Ends those of the `begun` answers (none: the first) that have not ended, as if they had reached a limit."""
        for number in list(begun) or [0]:
            self.endings.setdefault(number, Ended("length", choice=number))
        self.is_done = True

    def finishes(self) -> list[tuple[int, Finish]]:
        """Why each answer has ended, at the stream's end; one at least."""
        return [(number, ended.finish) for number, ended in sorted(self.endings.items())] or [(0, "stop")]
