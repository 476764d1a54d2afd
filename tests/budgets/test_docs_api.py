"""The examples of docs/api.md are true: each is sent as it stands there, in order, and answered as shown."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from spendhub.snapshots import refresh_all
from tests import factories
from tests.budgets.api import NANO, client_of

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(.*?)```\n```json\n(.*?)```", PAGE, re.DOTALL)

# What the answer does not need to say word by word.
ANYTHING = "..."


def as_shown(answer: Any, shown: Any) -> Any:
    """The answer, reduced to what the page shows of it."""
    if shown == ANYTHING and answer not in (None, "", []):
        return ANYTHING
    if isinstance(shown, dict) and isinstance(answer, dict):
        return {name: as_shown(answer[name], value) for name, value in shown.items() if name in answer}
    return answer


def send(client: Any, command: str, known: dict[str, str]) -> Any:
    """Sends the page's `ask ADDRESS [-d BODY]`, with $NAMES filled in."""
    words = shlex.split(re.sub(r"\$(\w+)", lambda name: known[name[1]], command))
    assert words[0] == "ask" and (len(words) == 2 or words[2] == "-d"), command
    if len(words) == 2:
        return client.get(words[1])
    return client.generic("POST", words[1], words[3], content_type="application/json")


def test_the_examples_of_the_page_are_true() -> None:
    vendor = factories.ProviderFactory(name="openai", base_url="https://vendor.example/v1")
    for name, input_usd, output_usd in (("gpt-4o", "2.5", 10), ("gpt-4o-mini", "0.15", "0.6")):
        factories.PriceFactory(
            model__name=name,
            model__provider=vendor,
            input_nano_usd_per_mtok=round(float(input_usd) * NANO),
            output_nano_usd_per_mtok=round(float(output_usd) * NANO),
        )
    refresh_all()
    client = client_of(factories.acme())
    known = {"SPENDHUB": "/api"}
    assert len(EXAMPLES) == PAGE.count("```sh\n") == 28
    for command, answer in EXAMPLES:
        response = send(client, command, known)
        told, shown = response.json(), json.loads(answer)
        assert as_shown(told, shown) == shown, command
        assert ("error" in shown) == (response.status_code >= 400), command
        known["DECISION"] = told.get("decision_id", known.get("DECISION", ""))
        if "/reservations -d" in command:
            known["RESERVATION"] = told["id"]


def test_the_headings_that_the_code_points_to_are_there() -> None:
    headings = set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE))
    for file in ("answers.py", "recipe.py"):
        source = (Path(__file__).parents[2] / "budgets" / file).read_text(encoding="utf-8")
        assert set(re.findall(r'docs/api\.md, "([^"]+)"', source)) <= headings


def test_every_route_of_budgets_and_spans_is_named_on_the_page() -> None:
    from budgets.urls import recipe_urlpatterns, urlpatterns
    from telemetry.urls import urlpatterns as telemetry_urlpatterns

    for route in (*urlpatterns, *recipe_urlpatterns, *telemetry_urlpatterns):
        word = re.sub(r"\^|\(\?P<.*", "", str(route.pattern)).split("/")[0].removesuffix("$")
        assert re.search(rf"\b{word}\b", PAGE), word
