"""What the generations of OpenAI's models take: known by their names, and said to them where a request is translated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from routing.conversation import Conversation, Message, NotTranslatable, Reasoning, Text, Tool
from routing.model_facts import ModelFacts
from routing.unusual import NOTHING_UNUSUAL, Unusual
from routing.upstreams.base import CHAT, MESSAGES, RESPONSES
from routing.upstreams.openai.compatible import refuses_old_limit
from routing.upstreams.openai.dialect import OpenAIDialect
from routing.upstreams.openai.generations import generation_of
from routing.upstreams.registry import unfit_for
from tests.routing.facts import model_facts

OPENAI, AZURE, OPENROUTER = "https://api.openai.com/v1", "https://acme.openai.azure.com/openai/v1", "https://openrouter.ai/api/v1"  # fmt: skip
LOW_TO_HIGH = "low medium high"
TO_XHIGH = "none low medium high xhigh"


def model(name: str, **facts: Any) -> ModelFacts:
    return model_facts(name, **{"base_url": OPENAI, **facts})


def translated(name: str, *, base_url: str = OPENAI, has_responses: bool = False, **fields: Any) -> dict[str, Any]:
    asked = Conversation((Message("user", (Text("hi"),)),), **fields)
    to = model(name, base_url=base_url, has_responses=has_responses)
    found: dict[str, Any] = json.loads(OpenAIDialect().translated_request(to, "", asked, is_stream=False).body)
    return {field: value for field, value in found.items() if field not in ("model", "messages")}


# By name


@pytest.mark.parametrize(
    ("names", "efforts", "usual"),
    [
        ("o1 o1-2024-12-17 o3 o3-mini o3-pro openai/o4-mini ft:o4-mini-2025-04-16:acme", LOW_TO_HIGH, "medium"),
        ("gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-nano-2025-08-07 openai/gpt-5 databricks-gpt-5-mini OpenAI/GPT-5",
         "minimal low medium high", "medium"),
        ("gpt-5-pro gpt-5-pro-2025-10-06", "high", "high"),
        ("gpt-5-codex gpt-5.1-codex gpt-5.1-codex-mini", LOW_TO_HIGH, "medium"),
        ("gpt-5.1-codex-max gpt-5.2-codex gpt-5.3-codex gpt-6-codex", "low medium high xhigh", "medium"),
        ("gpt-5.1 gpt-5.1-2025-11-13 openai/gpt-5-1", "none low medium high", "none"),
        ("gpt-5.2 gpt-5.2-2025-12-11 gpt-5.4 gpt-5.4-mini gpt-5.4-nano-2026-03-17", TO_XHIGH, "none"),
        ("gpt-5.2-pro gpt-5.4-pro-2026-03-05 gpt-5.5-pro", "medium high xhigh", "medium"),
        ("gpt-5.5 gpt-5.5-2026-04-23 gpt-5.6 gpt-5.6-luna openai/gpt-5.6-sol gpt-6-sol gpt-6-luna gpt-6.1-terra",
         TO_XHIGH, "medium"),
        ("gpt-6-astra gpt-6.1-sol gpt-6.2-sol gpt-7 gpt-9.9-nobody-knows", "low medium high xhigh", "medium"),
        ("chat-latest gpt-5.1-chat-latest gpt-5.3-chat-latest", "medium", "medium"),
        ("gpt-oss-120b openai/gpt-oss-20b", LOW_TO_HIGH, "medium"),
        ("gpt-4o gpt-4o-mini-2024-07-18 gpt-4.1 gpt-4-0613 gpt-4-32k gpt-3.5-turbo gpt-35-turbo chatgpt-4o-latest "
         "gpt-5-chat gpt-5-chat-latest gpt-4o-search-preview gpt-5-search-api gpt-audio-mini ft:gpt-4o:acme", "", ""),
    ],
)  # fmt: skip
def test_a_generation_knows_its_words_for_thinking(names: str, efforts: str, usual: str) -> None:
    for name in names.split():
        found = generation_of(model(name))
        assert found is not None, name
        assert (name, " ".join(found.efforts), found.usual_effort) == (name, efforts, usual)


@pytest.mark.parametrize("name", ["llama-3.3-70b", "AIDC-AI/Marco-o1", "kimi-k3", "qwen-chat-latest", "grok-4", "m"])
def test_nothing_is_known_of_a_model_of_another_vendor(name: str) -> None:
    assert generation_of(model(name)) is None


def test_a_deployment_whose_name_says_nothing_is_known_by_the_models_own_at_azure_alone() -> None:
    found = generation_of(model("azure/gpt-5-mini", upstream_name="OUR-DEPLOYMENT", base_url=AZURE))
    assert found is not None and found.efforts == ("minimal", "low", "medium", "high")
    assert generation_of(model("gpt-5-mini", upstream_name="llama3", base_url="http://localhost:11434/v1")) is None


@pytest.mark.parametrize(
    ("names", "at_rest", "unthinking", "stop"),
    [
        ("gpt-4o gpt-4.1-mini gpt-3.5-turbo gpt-5-chat-latest gpt-oss-20b", True, True, True),
        ("o1 o3-mini", False, False, True),
        ("o3 o3-pro o4-mini gpt-5 gpt-5-nano gpt-5-pro gpt-5-codex gpt-6-astra chat-latest gpt-5.2-chat-latest", False,
         False, False),
        ("gpt-5.1 gpt-5.2 gpt-5.4-mini", True, True, False),
        ("gpt-5.5 gpt-5.6-luna gpt-6-luna", False, True, False),
        ("gpt-4o-search-preview gpt-5-search-api", False, False, True),
    ],
)  # fmt: skip
def test_a_generation_knows_where_it_takes_settings_of_how_words_are_chosen(
    names: str, at_rest: bool, unthinking: bool, stop: bool
) -> None:
    for name in names.split():
        found = generation_of(model(name))
        assert found is not None
        taken = (found.samples_at(""), found.samples_at("none"), found.takes_stop)
        assert (name, taken) == (name, (at_rest, unthinking, stop))


def rows_of_the_page() -> list[list[str]]:
    page = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")
    table = page.partition("### OpenAI's generations")[2].partition("\n| models |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_page_says_what_is_known() -> None:
    told = {name: cells[1:] for cells in rows_of_the_page() for name in re.findall(r"`([^`]+)`", cells[0])}
    known = {}
    for name in told:
        found = generation_of(model(name))
        assert found is not None
        known[name] = [
            ", ".join(found.efforts) or "no such field",
            found.usual_effort,
            "taken" if found.takes_sampling else "at none" if found.samples_at("none") else "refused",
            "taken" if found.takes_stop else "refused",
        ]
    assert len(told) == 38
    assert told == known


# A client's own words, where the choice is ours


@pytest.mark.parametrize(
    ("name", "unusual", "refused"),
    [
        ("gpt-5-nano", Unusual(sampling=("temperature 0.2",)), ["temperature 0.2"]),
        ("gpt-5-nano", Unusual(sampling=("temperature 0.2", "logit_bias"), stop="stop"),
         ["temperature 0.2", "logit_bias", "stop"]),
        ("gpt-5-nano", Unusual(logprobs="logprobs"), ["logprobs"]),
        ("gpt-4o-mini", Unusual(sampling=("temperature 0.2",), logprobs="logprobs", stop="stop"), []),
        ("gpt-5.2", Unusual(sampling=("temperature 0.2",)), []),
        ("gpt-5.2", Unusual(sampling=("temperature 0.2",), effort="low"), ["temperature 0.2"]),
        ("gpt-5.6-luna", Unusual(sampling=("top_p 0.5",)), ["top_p 0.5"]),
        ("gpt-5.6-luna", Unusual(sampling=("top_p 0.5",), effort="none"), []),
        ("gpt-5-mini", Unusual(effort="minimal"), []),
        ("gpt-5-mini", Unusual(effort="none"), ["reasoning_effort none"]),
        ("gpt-5.2", Unusual(effort="minimal"), ["reasoning_effort minimal"]),
        ("gpt-5.1", Unusual(effort="xhigh"), ["reasoning_effort xhigh"]),
        ("gpt-4o", Unusual(effort="none"), ["reasoning_effort none"]),
        ("gpt-5.4", Unusual(has_tools=True), []),
        ("gpt-5.4", Unusual(has_tools=True, effort="low"), ["tools unless reasoning_effort is none"]),
        ("gpt-5.6", Unusual(has_tools=True), ["tools unless reasoning_effort is none"]),
        ("gpt-5.6", Unusual(has_tools=True, effort="none"), []),
        ("gpt-6-astra", Unusual(has_tools=True), ["tools in chat completions"]),
        ("gpt-5-nano", Unusual(has_tools=True, effort="low"), []),
        ("gpt-5.6", NOTHING_UNUSUAL, []),
        ("llama3", Unusual(("temperature 0.2",), "logprobs", "stop", "minimal", has_tools=True), []),
    ],
)  # fmt: skip
def test_what_a_chat_completion_asks_for_and_the_model_would_refuse(
    name: str, unusual: Unusual, refused: list[str]
) -> None:
    assert unfit_for(model(name), unusual, CHAT) == refused


def test_responses_take_tools_beside_thinking_and_the_newest_models_most_of_it() -> None:
    asked = Unusual(("temperature 0.2",), effort="max", has_tools=True)
    assert unfit_for(model("gpt-6-astra", has_responses=True), asked, RESPONSES) == ["temperature 0.2"]
    assert unfit_for(model("gpt-5.5", has_responses=True), asked, RESPONSES) == [
        "reasoning.effort max",
        "temperature 0.2",
    ]
    assert unfit_for(model("gpt-6-astra"), Unusual(effort="max"), CHAT) == ["reasoning_effort max"]


ASKED_OF_CHAT = Unusual(("temperature 0.2",), "logprobs", "stop", "none", has_tools=True)
REFUSED_BY_GPT_5 = ["reasoning_effort none", "temperature 0.2", "logprobs", "stop"]


@pytest.mark.parametrize(
    ("name", "url", "refused"),
    [
        ("gpt-5-mini", "https://eu.api.openai.com/v1", REFUSED_BY_GPT_5),
        ("gpt-5-mini", AZURE, REFUSED_BY_GPT_5),
        ("gpt-5-mini", "http://127.0.0.1:1/v1", REFUSED_BY_GPT_5),
        ("openai/gpt-5-mini", OPENAI, REFUSED_BY_GPT_5),
        ("openai/gpt-5-mini", OPENROUTER, []),
        ("gpt-5-mini", OPENROUTER, []),
        ("openai/gpt-5-mini", "http://127.0.0.1:1/v1", []),
        # Open weights are called so by those who run them.
        ("openai/gpt-oss-20b", "https://api.groq.com/openai/v1", ["reasoning_effort none"]),
        ("openai/gpt-oss-20b", OPENROUTER, []),
    ],
)
def test_a_reseller_leaves_out_itself_what_a_model_does_not_take(name: str, url: str, refused: list[str]) -> None:
    assert unfit_for(model(name, base_url=url), ASKED_OF_CHAT, CHAT) == refused


@pytest.mark.parametrize(
    ("name", "refused"),
    [("gpt-5", ["stop_sequences", "logprobs"]), ("gpt-5.6", ["stop_sequences"]), ("gpt-4o", []), ("llama3", [])],
)
def test_where_it_is_translated_only_what_cannot_be_left_out_or_said_otherwise_counts(
    name: str, refused: list[str]
) -> None:
    asked = Unusual(("temperature 0.2",), "logprobs", "stop_sequences", "minimal", has_tools=True)
    assert unfit_for(model(name), asked, MESSAGES) == refused
    # Responses, to a vendor who does not speak them.
    assert unfit_for(model(name), asked, RESPONSES) == refused
    # Nothing is known of what other dialects say to a model of such a name.
    assert unfit_for(model(name, dialect="bedrock"), asked, MESSAGES) == []
    assert unfit_for(model(name, dialect="morse"), asked, MESSAGES) == []


# In translation


@pytest.mark.parametrize(
    ("name", "wanted", "said"),
    [
        ("gpt-5", "none", "minimal"), ("gpt-5", "xhigh", "high"), ("gpt-5.2", "minimal", "low"),
        ("gpt-5.2", "none", "none"), ("gpt-5.1", "xhigh", "high"), ("gpt-5.2", "max", "xhigh"), ("o3", "none", "low"),
        ("gpt-5-pro", "low", "high"), ("gpt-6-astra", "none", "low"), ("gpt-5.6", "max", "xhigh"),
        ("gpt-5.3-chat-latest", "high", "medium"), ("gpt-oss-20b", "none", "low"), ("gpt-5.2", "", "medium"),
        ("gpt-5", "strange", "medium"), ("gpt-4o", "low", None), ("gpt-4.1", "none", None), ("m", "minimal", "minimal"),
    ],
)  # fmt: skip
def test_the_nearest_effort_that_the_model_takes_is_said(name: str, wanted: str, said: str | None) -> None:
    assert translated(name, reasoning=Reasoning(wanted)).get("reasoning_effort") == said


SAMPLING: dict[str, Any] = {"temperature": 0.2, "top_p": 0.5, "frequency_penalty": 0.1, "presence_penalty": 0.1}


@pytest.mark.parametrize("url", [OPENAI, AZURE, OPENROUTER, "http://127.0.0.1:1/v1"])
def test_a_model_that_always_thinks_is_told_no_temperature(url: str) -> None:
    asked = translated("openai/gpt-5-mini", base_url=url, reasoning=Reasoning(budget_tokens=0), **SAMPLING)
    assert asked == {"reasoning_effort": "minimal"}


@pytest.mark.parametrize(
    ("name", "effort", "is_told"),
    [("gpt-4o", None, True), ("gpt-5.2", None, True), ("gpt-5.2", "none", True), ("gpt-5.2", "low", False),
     ("gpt-5.6", None, False), ("gpt-5.6", "none", True), ("gpt-oss-20b", "high", True), ("m", "high", True)],
)  # fmt: skip
def test_a_model_that_need_not_think_is_told_a_temperature_where_it_does_not(
    name: str, effort: str | None, is_told: bool
) -> None:
    asked = translated(name, reasoning=None if effort is None else Reasoning(effort), **SAMPLING)
    assert {field: asked[field] for field in SAMPLING if field in asked} == (SAMPLING if is_told else {})


@pytest.mark.parametrize(
    ("name", "fields", "word"),
    [
        ("gpt-5-mini", {"stop": ("END",)}, "stop"),
        ("gpt-5.2", {"stop": ("END",)}, "stop"),
        ("gpt-5-mini", {"logprobs": 2}, "logprobs"),
        ("gpt-5.2", {"logprobs": 2, "reasoning": Reasoning("low")}, "logprobs"),
    ],
)
def test_what_would_make_another_answer_is_refused_and_not_left_out(
    name: str, fields: dict[str, Any], word: str
) -> None:
    with pytest.raises(NotTranslatable) as refused:
        translated(name, **fields)
    assert refused.value.field == word


def test_a_model_that_takes_no_end_at_all_is_not_said_to_take_four() -> None:
    for name, towards in (("gpt-5-mini", "OpenAI's chat format"), ("gpt-4o", "OpenAI's chat format above 4")):
        with pytest.raises(NotTranslatable) as refused:
            translated(name, stop=("a", "b", "c", "d", "e"))
        assert (refused.value.field, refused.value.towards) == ("stop", towards)


def test_what_the_model_takes_is_said() -> None:
    assert translated("gpt-4o", stop=("END",), logprobs=2) == {"stop": ["END"], "logprobs": True, "top_logprobs": 2}
    assert translated("gpt-5.2", logprobs=0) == {"logprobs": True}
    assert translated("o1", stop=("END",)) == {"stop": ["END"]}


def test_a_model_that_is_told_not_to_think_because_of_its_tools_is_told_the_temperature_too() -> None:
    asked = translated("gpt-5.6", tools=(Tool("look", "", {}),), logprobs=2, **SAMPLING)
    del asked["tools"]
    assert asked == {"reasoning_effort": "none", "logprobs": True, "top_logprobs": 2, **SAMPLING}
    # A reseller's is told nothing of its thinking, and may think.
    assert translated("openai/gpt-5.6", tools=(Tool("look", "", {}),), **SAMPLING).keys() == {"tools"}


# The limit's name


def native(name: str, **body: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        OpenAIDialect().native_request(model(name), "", CHAT, body, is_stream=False).body
    )
    del found["model"]
    return found


@pytest.mark.parametrize(
    ("name", "refuses"),
    [("gpt-5-nano", True), ("o3", True), ("gpt-4o", False), ("gpt-oss-20b", False), ("databricks-gpt-5-mini", False)],
)
def test_models_that_think_refuse_the_old_name_of_a_limit(name: str, refuses: bool) -> None:
    """Of another vendor's name for one nobody has said so."""
    assert refuses_old_limit(model_facts(name)) is refuses


def test_all_that_a_client_says_to_a_model_that_it_names_passes() -> None:
    body = {"max_tokens": 50, "temperature": 0.2, "stop": ["END"], "reasoning_effort": "none", "logprobs": True}
    assert native("gpt-5-nano", **body) == body
