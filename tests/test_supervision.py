"""The supervisor tells its children to stop all at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spendhub.supervision import Child, Supervisor

# A child that, told to stop, says so in a file of its own, and ends once the other has said so too.
SCRIPT = """
import pathlib, signal, sys, time
own, other = map(pathlib.Path, sys.argv[1:])
def stop(number, frame):
    own.with_suffix(".told").touch()
    while not other.with_suffix(".told").exists():
        time.sleep(0.02)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
own.touch()
while True:
    time.sleep(0.02)
"""


@pytest.fixture
def own_signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_children_are_told_to_stop_before_any_is_waited_for(tmp_path: Path, own_signals: None) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    children = [
        Child(own.name, [sys.executable, "-c", SCRIPT, str(own), str(other)], stop_seconds=20)
        for own, other in zip(files, reversed(files), strict=True)
    ]
    supervisor = Supervisor(
        children, lambda: all(file.exists() for file in files), lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert supervisor.run() == 0
    assert [child.process.returncode for child in children if child.process] == [0, 0]
