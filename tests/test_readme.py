"""The README's first example, run as a newcomer would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import PROJECT, SpendHub, clean_environment

README = (PROJECT / "README.md").read_text()
ADDRESS = "http://localhost:8000"


def example(language: str) -> str:
    """The README's first code block in `language`."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no example in {language}"
    return found[1]


@pytest.mark.servers
def test_the_first_example_makes_a_call_and_a_small_budget_stops_it(
    live_server_process: Callable[..., SpendHub], tmp_path: Path
) -> None:
    server = live_server_process()
    server.manage("catalog", "update")
    key = server.manage("tenant", "create", "Acme").splitlines()[-1]
    environment = clean_environment() | {"SPENDHUB_API_KEY": key}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    script = tmp_path / "first_call.py"
    script.write_text(example("python").replace(ADDRESS, server.url))
    called = run(sys.executable, str(script))
    assert called.returncode == 0, called.stderr + server.log
    said, cost = called.stdout.strip().splitlines()[0], called.stdout.strip().splitlines()[-1]
    assert "sandbox" in said.lower()
    assert re.fullmatch(r"cost: 0\.0*[1-9]\d* USD", cost)

    made = run("sh", "-c", example("sh").replace(ADDRESS, server.url))
    assert '"Pocket money"' in made.stdout, made.stderr + made.stdout
    refused = run(sys.executable, str(script))
    # The edit is in force within two seconds; until then the call may still pass.
    for _ in range(20):
        if refused.returncode:
            break
        refused = run(sys.executable, str(script))
    assert "402" in refused.stderr
    assert "Pocket money" in refused.stderr


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 150
