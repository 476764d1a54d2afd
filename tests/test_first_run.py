"""`make run` on a fresh clone, and again: what it prepares, prints once, and keeps."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from spendhub.first_run import static_sources
from tests.servers import PROJECT, clean_environment, die_with_parent, free_port, stop_process, wait_until


class Run:
    """One `make run`, as far as it goes once the packages are installed."""

    def __init__(self, var: Path, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        environment = clean_environment() | {"SPENDHUB_VAR_DIR": str(var), "PORT": str(self.port)}
        command = [sys.executable, "-m", "spendhub.first_run"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=PROJECT, env=environment, stdout=output, stderr=output, preexec_fn=die_with_parent
            )
        wait_until(lambda: self.process.poll() is not None or "is ready on" in self.output, 100, "it is ready")

    @property
    def output(self) -> str:
        return self._log.read_text()

    def stop(self) -> int:
        return stop_process(self.process, signal.SIGINT, 40)


@pytest.mark.servers
@pytest.mark.timeout(400)
def test_the_first_run_prints_a_login_that_works_and_the_second_keeps_it_to_itself(tmp_path: Path) -> None:
    first = Run(tmp_path / "var", tmp_path / "first.log")
    try:
        login = re.search(r"Login +(\S+)\n +Password +(\S+)", first.output)
        key = re.search(r"API key +(sh_\S+)", first.output)
        assert login and key, first.output
        with httpx.Client(base_url=first.url, follow_redirects=True, timeout=60) as browser:
            form = browser.get("/admin/login/")
            # Its styles are there: collectstatic has run.
            style = re.search(r'href="(/static/[^"]+\.css)"', form.text)
            assert style
            assert browser.get(style[1]).status_code == 200
            fields = {"username": login[1], "password": login[2], "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            page = browser.post("/admin/login/?next=/admin/", data=fields, headers={"referer": first.url})
            assert page.url.path == "/admin/"
            assert page.status_code == 200
        budgets = httpx.get(f"{first.url}/api/v1/budgets", headers={"authorization": f"Bearer {key[1]}"})
        assert budgets.status_code == 200
    finally:
        assert first.stop() == 0, first.output
    assert oct(os.stat(tmp_path / "var" / "secret_key").st_mode & 0o777) == "0o600"

    second = Run(tmp_path / "var", tmp_path / "second.log")
    try:
        assert "==>" not in second.output
        assert "Password" not in second.output
        budgets = httpx.get(f"{second.url}/api/v1/budgets", headers={"authorization": f"Bearer {key[1]}"})
        assert budgets.status_code == 200
    finally:
        assert second.stop() == 0, second.output


def test_the_styles_are_prepared_anew_for_a_change_of_ours_and_not_for_what_preparing_them_makes(
    tmp_path: Path,
) -> None:
    packages = ("routing/__init__.py", "spendhub/dashboard/__init__.py")
    ours = ("requirements.lock", "routing/static/b.js", "spendhub/dashboard/static/app/a.css")
    for name in (*packages, *ours, "var/static/app/a.123.css"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    files = {file.relative_to(tmp_path).as_posix() for file in static_sources(tmp_path) if file.is_file()}
    assert files == set(ours)


@pytest.mark.servers
def test_who_stops_make_stops_the_server(tmp_path: Path) -> None:
    server, started = tmp_path / "python", tmp_path / "pid"
    server.write_text(f"#!/bin/sh\necho $$ > {started}.new && mv {started}.new {started} && exec sleep 30\n")
    server.chmod(0o755)
    # Without looking at whether the packages are installed.
    command = ["make", "-o", ".venv/runtime", "run", f"BIN={tmp_path}"]
    make = subprocess.Popen(
        command, cwd=PROJECT, env=clean_environment(), stderr=subprocess.DEVNULL, preexec_fn=die_with_parent
    )
    wait_until(started.exists, 20, "the server to be started")
    assert stop_process(make, signal.SIGTERM, 10) == -signal.SIGTERM
    wait_until(lambda: not is_running(int(started.read_text())), 5, "the server to have ended")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
