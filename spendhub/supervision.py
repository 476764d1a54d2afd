"""One command, several processes: started in order, watched, restarted, stopped together.

A child that dies is started again after a pause that doubles with each death in a row. SIGTERM or
Ctrl-C tells all children to stop, each with its own time to finish what it has begun; a second
signal ends them at once. Children die with the supervisor (see `die_with_parent`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from spendhub.processes import die_with_parent

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# A child that has lived this long was healthy: its next death is the first in a row again.
HEALTHY_AFTER_SECONDS = 60.0
WATCH_SECONDS = 0.1


@dataclass
class Child:
    """One process to keep alive. `stop_seconds` is how long it may take to end on SIGTERM."""

    name: str
    command: Sequence[str]
    stop_seconds: float
    deaths_in_a_row: int = 0
    started_at: float = 0.0
    restart_at: float | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Starts it in a process group of its own, so that a terminal's Ctrl-C reaches only the supervisor."""
        environment = os.environ | {"SPENDHUB_IS_SUPERVISED": "yes"}
        self.process = subprocess.Popen(
            self.command, env=environment, start_new_session=True, preexec_fn=die_with_parent
        )
        self.started_at = time.monotonic()
        self.restart_at = None

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def note_death(self, now: float) -> float:
        """Plans the restart and answers the pause until then, in seconds."""
        if now - self.started_at > HEALTHY_AFTER_SECONDS:
            self.deaths_in_a_row = 0
        pause: float = min(FIRST_PAUSE_SECONDS * 2**self.deaths_in_a_row, LONGEST_PAUSE_SECONDS)
        self.deaths_in_a_row += 1
        self.restart_at = now + pause
        return pause


class Supervisor:
    """Keeps `children` running until told to stop. `is_ready()` is asked until it is first true."""

    def __init__(
        self,
        children: Sequence[Child],
        is_ready: Callable[[], bool],
        when_ready: Callable[[], None],
        start_seconds: float = 60.0,
    ) -> None:
        self._children = children
        self._is_ready = is_ready
        self._when_ready = when_ready
        self._start_seconds = start_seconds
        self._signals = 0
        self._woken = threading.Event()

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT; the exit code: 0, or 1 when a child could not even start."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        # pdeathsig follows the thread that starts a child, so all are started from this, the main thread.
        for child in self._children:
            child.start()
        came_up = self._wait_until_ready()
        if came_up:
            self._when_ready()
            self._watch()
        self._stop_all()
        return 0 if came_up or self._signals else 1

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self._woken.set()

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + self._start_seconds
        while not self._signals:
            for child in self._children:
                if not child.is_running():
                    _say(f"{child.name} ended while starting; its own words are above")
                    return False
            if self._is_ready():
                return True
            if time.monotonic() > deadline:
                _say(f"not ready after {self._start_seconds:.0f} s, giving up")
                return False
            self._woken.wait(WATCH_SECONDS)
        return False

    def _watch(self) -> None:
        while not self._signals:
            now = time.monotonic()
            for child in self._children:
                if child.is_running():
                    continue
                if child.restart_at is None:
                    code = child.process.returncode if child.process else None
                    pause = child.note_death(now)
                    _say(f"{child.name} ended ({_describe(code)}); starting it again in {pause:.1f} s")
                elif now >= child.restart_at:
                    child.start()
            self._woken.wait(WATCH_SECONDS)

    def _stop_all(self) -> None:
        """Tells all to stop before it waits for any: the whole takes as long as the slowest may."""
        told_at, signals_before = time.monotonic(), self._signals
        for child in self._children:
            if child.process is not None and child.is_running():
                child.process.terminate()
        for child in self._children:
            self._see_end(child, told_at + child.stop_seconds, signals_before)

    def _see_end(self, child: Child, deadline: float, signals_before: int) -> None:
        if child.process is None:
            return
        while child.is_running() and time.monotonic() < deadline and self._signals == signals_before:
            self._woken.clear()
            self._woken.wait(WATCH_SECONDS)
        if child.is_running():
            _say(f"{child.name} did not end in time and is killed")
        # The whole group, always: a process it has left behind would keep the port.
        try:
            os.killpg(child.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.process.wait()


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _say(line: str) -> None:
    print(f"spendhub: {line}", file=sys.stderr, flush=True)
