"""A pasted request is read for a dry run as the gateway reads it for a call, whichever client wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from routing.pasted_requests import limit_of_body, needs_of_body, text_of_body
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.dialect import ClientDialect
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT

RECORDED = sorted((Path(__file__).parents[1] / "routing" / "upstreams" / "recorded" / "requests").glob("*.json"))
DIALECTS: dict[str, ClientDialect] = {
    "chat": CHAT_DIALECT,
    "responses": RESPONSES_DIALECT,
    "messages": MESSAGES_DIALECT,
    "generate": GenerateDialect("m", is_stream=False),
}
PICTURE = "iVBORw0KGgo="
MADE: list[tuple[str, dict[str, Any]]] = [
    ("messages", {"thinking": {"type": "enabled", "budget_tokens": 2000}, "messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]}]}),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}]}]}]}),
    ("messages", {"messages": [{"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "draw", "input": {"type": "image", "text": "not said"}}]}]}),
    ("messages", {"thinking": {"type": "disabled"}, "messages": [{"role": "user", "content": "hello"}]}),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}),
    ("responses", {"input": "hello", "text": {"format": {"type": "json_object"}}, "reasoning": {"effort": "low"}}),
    ("generate", {"contents": [{"parts": [{"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}}]}]}),
    ("generate", {"contents": [{"parts": [{"fileData": {"mimeType": "application/pdf", "fileUri": "x"}}]}],
                  "generation_config": {"thinking_config": {"thinking_budget": 0}, "max_output_tokens": 7}}),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA",
              "format": "wav"}}]}], "stream": True, "max_completion_tokens": 7}),
]  # fmt: skip


def requests() -> list[Any]:
    recorded = [(path.stem.split("-")[0], json.loads(path.read_text("utf-8"))) for path in RECORDED]
    names = [path.stem for path in RECORDED]
    made = [f"{kind}-made-{number}" for number, (kind, _) in enumerate(MADE)]
    return [pytest.param(*each, id=name) for each, name in zip(recorded + MADE, names + made, strict=True)]


@pytest.mark.parametrize(("kind", "body"), requests())
def test_it_needs_of_a_model_what_the_same_call_would(kind: str, body: dict[str, Any]) -> None:
    dialect, whole = DIALECTS[kind], {"model": "m", **body}
    if kind == "messages":
        whole = {"max_tokens": 100, **whole}
    request = dialect.parse(json.dumps(whole).encode())
    assert needs_of_body(whole) == dialect.needs(request)
    if request.choices == 1:
        assert limit_of_body(whole) == request.max_output_tokens
    assert sorted(text_of_body(whole).split()) == sorted(dialect.text(request).split())


def test_whatever_is_pasted_is_read_as_far_as_it_goes() -> None:
    nonsense = {"messages": [5, None, {"content": [[], "x", {"type": ["image"]}]}], "contents": "x", "input": {"content": 1},
                "thinking": 1, "generationConfig": [], "text": 5, "max_tokens": "many", "tools": True}  # fmt: skip
    assert needs_of_body(nonsense) == {"tools"}
    assert limit_of_body(nonsense) is None
    assert text_of_body(nonsense) == "x"
