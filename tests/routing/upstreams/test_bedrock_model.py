"""Requests, and the fake's answers, held against AWS's own model of the service (botocore, bedrock-runtime)."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from typing import Any

import botocore.session
import pytest

from routing.conversation import (
    Audio,
    Conversation,
    File,
    Image,
    Message,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from routing.upstreams.bedrock.dialect import BedrockDialect
from tests.fakes.bedrock_upstream import FakeBedrock
from tests.routing.facts import model_facts
from tests.routing.upstreams.test_bedrock import CLAUDE, GPT_OSS, NEW_CLAUDE, NOVA, NOVA_2, SCHEMA, body_of

TOOLS = (Tool("weather", "The weather.", SCHEMA, is_strict=True, is_cache_point=True), Tool("clock"))
EVERYTHING = (
    Message("user", (Text("hi", is_cache_point=True), Image("image/png", "AAAA"), Audio("AAAA", "mp3"))),
    Message("user", (File("application/pdf", "AAAA", name="a/b.pdf"), File(text="x"), File(url="s3://bucket/c.docx"))),
    Message(
        "assistant",
        (
            Thinking("hm", "EqQB"),
            Thinking(signature="bedrock.cmVk", is_redacted=True),
            Refusal("no"),
            ToolCall("call:" + "x" * 99, "weather", '{"city": "Köln"}'),
        ),
    ),
    Message("user", (ToolResult("call:" + "x" * 99, (Text("22"), Image(url="s3://bucket/a.gif")), is_error=True),)),
)
WISHES: tuple[dict[str, Any], ...] = (
    {"tools": TOOLS},
    {
        "tools": TOOLS,
        "tool_choice": ToolChoice("required"),
        "temperature": 0.5,
        "stop": ("END",),
        "max_output_tokens": 9,
    },
    {"tools": TOOLS, "tool_choice": ToolChoice("named", "clock"), "top_k": 5},
    {"tools": TOOLS, "reasoning": Reasoning("high"), "system": (Text("Be brief.", is_cache_point=True),)},
    {"tools": TOOLS, "output": OutputFormat(SCHEMA, "city", "Where it is.")},
)
CANNOT = {(NOVA, "reasoning"), (NOVA, "output"), (NOVA_2, "output"), (GPT_OSS, "top_k")}


@cache
def shape_of(operation: str, side: str) -> Any:
    return getattr(botocore.session.Session().get_service_model("bedrock-runtime").operation_model(operation), side)


def problems(shape: Any, value: Any, at: str) -> list[str]:
    """What in `value` is not as the model's `shape` says."""
    facts = shape.metadata
    match shape.type_name:
        case "structure" if getattr(shape, "is_document_type", False):
            return []
        case "structure":
            if not isinstance(value, dict):
                return [f"{at}: no object"]
            found = [f"{at}: knows no {name}" for name in value if name not in shape.members]
            found += [f"{at}: lacks {name}" for name in shape.required_members if name not in value]
            if shape.is_tagged_union and len(value) != 1:
                found.append(f"{at}: is one of several, not {sorted(value)}")
            return found + [
                each
                for name, part in value.items()
                if name in shape.members
                for each in problems(shape.members[name], part, f"{at}.{name}")
            ]
        case "list":
            return [each for n, part in enumerate(value) for each in problems(shape.member, part, f"{at}[{n}]")]
        case "string":
            pattern, allowed = facts.get("pattern"), facts.get("enum")
            right = isinstance(value, str) and facts.get("min", 0) <= len(value) <= facts.get("max", 1e9)
            right = right and (allowed is None or value in allowed)
            return [] if right and (pattern is None or re.fullmatch(pattern, value)) else [f"{at}: {value!r}"]
        case "blob":
            return [] if base64.b64decode(value, validate=True) else [f"{at}: empty"]
        case "boolean":
            return [] if isinstance(value, bool) else [f"{at}: {value!r}"]
        case "integer" | "long":
            return [] if isinstance(value, int) and value >= facts.get("min", 0) else [f"{at}: {value!r}"]
        case "float":
            right = isinstance(value, int | float) and facts.get("min", 0) <= value <= facts.get("max", 1e9)
            return [] if right else [f"{at}: {value!r}"]
        case other:
            raise AssertionError(f"{at}: {other}")


@pytest.mark.parametrize("wishes", WISHES, ids=["plain", "required", "named", "thinking", "schema"])
@pytest.mark.parametrize("name", [CLAUDE, NEW_CLAUDE, NOVA, NOVA_2, GPT_OSS])
def test_a_request_is_one_that_the_service_knows(name: str, wishes: dict[str, Any]) -> None:
    said = {field: value for field, value in wishes.items() if (name, field) not in CANNOT}
    body = body_of(*EVERYTHING, name=name, **said)
    assert problems(shape_of("Converse", "input_shape"), {"modelId": name, **body}, "request") == []


def test_a_wrong_request_is_found_out() -> None:
    body = {
        "modelId": "",
        "messages": [{"role": "tool", "content": [{"text": "a", "image": {}}]}],
        "system": [{"text": ""}],
    }
    assert len(problems(shape_of("Converse", "input_shape"), {**body, "what": 1}, "request")) == 7


@pytest.mark.parametrize("wish", ["", "[think:hm]", "[think:redacted]", "[written:1] [written1h:2]", "[fault:blocked]"])
@pytest.mark.parametrize("tools", [(), TOOLS])
def test_the_fake_says_only_what_the_service_can_say(wish: str, tools: tuple[Tool, ...]) -> None:
    model = model_facts(CLAUDE, dialect="bedrock", base_url=FakeBedrock().base_url)
    asked = Conversation((Message("user", (Text(f"{wish} hello"),)),), tools=tools)
    request = BedrockDialect().translated_request(model, "", asked, is_stream=False)
    fake, path, body = FakeBedrock(), "/" + request.url.split("/", 3)[3], json.loads(request.body)
    answer = fake.plan(path, body)
    assert problems(shape_of("Converse", "output_shape"), fake.whole(path, body, answer), "answer") == []
    stream = shape_of("ConverseStream", "output_shape").members["stream"]
    for raw in fake.events(path, body, answer):
        headers = int.from_bytes(raw[4:8], "big")
        said = json.loads(raw[12 + headers : -4])
        assert said.pop("p")
        kind = next(name for name in stream.members if f":event-type\x07\x00{chr(len(name))}{name}".encode() in raw)
        assert problems(stream.members[kind], said, kind) == []
