"""The README's examples, run as a newcomer would run them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import PROJECT, SpendHub, clean_environment

README = (PROJECT / "README.md").read_text()
ADDRESS = "http://localhost:8000"


def examples(language: str) -> list[str]:
    """The README's code blocks in `language`."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.servers
def test_the_first_example_makes_a_call_a_small_budget_stops_it_and_without_it_the_others_pass(
    live_server_process: Callable[..., SpendHub], tmp_path: Path
) -> None:
    server = live_server_process()
    server.manage("catalog", "update")
    key = server.manage("tenant", "create", "Acme").splitlines()[-1]
    environment = clean_environment() | {"SPENDHUB_API_KEY": key}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    first_call, with_anthropic = examples("python")
    make_budget, put_away = examples("sh")
    script, second_script = tmp_path / "first_call.py", tmp_path / "with_anthropic.py"
    script.write_text(first_call.replace(ADDRESS, server.url))
    # A model by name, so that no vendor is asked, whatever keys this machine has.
    second_script.write_text(with_anthropic.replace(ADDRESS, server.url).replace('"auto"', '"sandbox-small"'))
    called = run(sys.executable, str(script))
    assert called.returncode == 0, called.stderr + server.log
    said, cost = called.stdout.strip().splitlines()[0], called.stdout.strip().splitlines()[-1]
    assert "sandbox" in said.lower()
    assert re.fullmatch(r"cost: 0\.0*[1-9]\d* USD", cost)

    made = run("sh", "-c", make_budget.replace(ADDRESS, server.url))
    assert '"Pocket money"' in made.stdout, made.stderr + made.stdout
    refused = run(sys.executable, str(script))
    # The edit is in force within two seconds; until then the call may still pass.
    for _ in range(20):
        if refused.returncode:
            break
        refused = run(sys.executable, str(script))
    assert "402" in refused.stderr
    assert "Pocket money" in refused.stderr

    gone = run("sh", "-c", put_away.replace(ADDRESS, server.url).replace("/ID", f"/{json.loads(made.stdout)['id']}"))
    assert gone.stdout == ""
    # In force within two seconds, too.
    for _ in range(20):
        passed = run(sys.executable, str(second_script))
        if not passed.returncode:
            break
    assert "sandbox" in passed.stdout.lower(), passed.stderr


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 150
