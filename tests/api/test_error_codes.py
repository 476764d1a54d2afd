"""docs/errors.md says of every error code what it means and which status it has."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import budgets
import routing
import spendhub
import telemetry
from spendhub.api.errors import status_of
from spendhub.errors import SpendHubError

PAGE = Path(__file__).parent.parent.parent / "docs" / "errors.md"


def every_error() -> Iterator[type[SpendHubError]]:
    for package in (budgets, routing, telemetry, spendhub):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not re.search(r"\.(management|migrations|asgi|wsgi|settings)\b", module.name):
                importlib.import_module(module.name)
    waiting: list[type[SpendHubError]] = [SpendHubError]
    while waiting:
        for found in waiting.pop().__subclasses__():
            waiting.append(found)
            if not found.__module__.startswith("tests"):
                yield found


def test_every_error_has_a_line_with_its_code_and_status() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE.read_text(), re.MULTILINE))
    existing = {error.code: str(status_of(error.__new__(error))) for error in every_error()}
    assert documented == existing


def test_every_error_says_in_a_sentence_what_it_is() -> None:
    assert [error.__name__ for error in every_error() if not error.__doc__] == []


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in every_error() if "code" in vars(error)]
    assert sorted(codes) == sorted(set(codes))
