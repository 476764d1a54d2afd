"""A loop that asks for one tool: what is asked, what the tool says, what each call costs; and the setups of the docs."""

from __future__ import annotations

import re
import runpy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.gateway.sdks.vendors import Vendors
from tests.servers import PROJECT

PAGE = (PROJECT / "docs/frameworks.md").read_text()
GPT, CLAUDE = "gpt-4.1-mini", "claude-sonnet-5"
MODELS = [GPT, CLAUDE]
# At both models 1 token in is 2,000 nano_usd and 1 out is 10,000; the vendor counts what the texts tell it to.
QUESTION = "[in:100] [out:20] How is the weather in Köln?"
QUESTION_NANO_USD = 100 * 2_000 + 20 * 10_000
ANSWER = "The tool says: 21 degrees in Köln"
ANSWER_NANO_USD = 150 * 2_000 + 30 * 10_000
# The same where an object is wanted: as the arguments of a tool, or as the text of the answer.
CITY_QUESTION = '[in:100] [out:20] [say:{"city": "Köln"}] Which city?'
# Less than the first step of a loop could cost.
TOO_SMALL_USD = "0.00001"
# Kept until the session ends: a client that is collected with a connection open warns in whichever test runs then.
_set_up: list[dict[str, Any]] = []


def weather(city: str) -> str:
    """The weather in a city."""
    return f"[in:150] [out:30] 21 degrees in {city}"


def set_up(section: str, vendors: Vendors, user: str, *, model: str = GPT, block: int = 0) -> dict[str, Any]:
    """Runs a block of docs/frameworks.md, with our address, key, user and model; the names it defines."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[block]
    for said, meant in (
        ("http://localhost:8000", vendors.served.server.url),
        ("sh_...", vendors.served.key),
        ('"ada"', f'"{user}"'),
        (f'"{GPT}"', f'"{model}"'),
    ):
        code = code.replace(said, meant)
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "set_up.py"
        script.write_text(code)
        _set_up.append(runpy.run_path(str(script)))
    return _set_up[-1]


@contextmanager
def exactly_two_calls(vendors: Vendors, user: str, model: str) -> Iterator[None]:
    """Within it the model's vendor, and no other, is asked for the tool and then for the answer; each call is a span."""
    calls = {vendor: vendor.served.calls for vendor in (vendors.openai, vendors.anthropic)}
    vendor = vendors.anthropic if model == CLAUDE else vendors.openai
    calls[vendor] += 2
    yield
    assert {vendor: vendor.served.calls for vendor in calls} == calls
    spans = vendors.served.spans(user)
    assert [(span["cost_nano_usd"], span["input_tokens"], span["output_tokens"]) for span in spans] == [
        (QUESTION_NANO_USD, 100, 20),
        (ANSWER_NANO_USD, 150, 30),
    ]
    assert {(span["model"], span["status"], bool(span["is_estimated"])) for span in spans} == {(model, "ok", False)}


@contextmanager
def exactly_no_call(vendors: Vendors, user: str) -> Iterator[None]:
    """Within it there is a budget that is too small for any call; no vendor is asked, and nothing is booked."""
    calls = [vendor.served.calls for vendor in (vendors.openai, vendors.anthropic)]
    vendors.served.define_budget(user, TOO_SMALL_USD)
    yield
    assert [vendor.served.calls for vendor in (vendors.openai, vendors.anthropic)] == calls
    assert vendors.served.spans(user) == []
