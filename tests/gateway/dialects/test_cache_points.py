"""Where a client says that a vendor's prompt cache may begin, it begins: a cache that is lost in silence is paid for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from routing.upstreams.anthropic.request import messages_body
from routing.upstreams.bedrock.request import converse_body
from spendhub.gateway.anthropic.messages_conversation import messages_conversation
from spendhub.gateway.openai.chat_conversation import chat_conversation
from spendhub.gateway.openai.responses_conversation import responses_conversation
from tests.routing.facts import model_facts

EPHEMERAL = {"type": "ephemeral"}
CACHE = {"cache_control": EPHEMERAL}
POINT = {"cachePoint": {"type": "default"}}
CLAUDE = model_facts("claude-sonnet-4-6", dialect="anthropic")
ON_BEDROCK = model_facts(
    "us.anthropic.claude-sonnet-4-6", dialect="bedrock", capabilities=frozenset({"caching", "tools"})
)
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "long"}}
CALL = {"type": "tool_use", "id": "a", "name": "clock", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "noon"}


@pytest.mark.parametrize("block", [PICTURE, DOCUMENT], ids=["picture", "document"])
def test_what_a_user_shows_may_be_kept(block: Mapping[str, Any]) -> None:
    said = messages_conversation({"messages": [{"role": "user", "content": [{**block, **CACHE}]}]})
    content = converse_body(ON_BEDROCK, said)["messages"][0]["content"]
    assert content[1] == POINT
    assert messages_body(CLAUDE, said)["messages"][0]["content"][0]["cache_control"] == EPHEMERAL


def test_a_call_and_its_result_may_be_kept() -> None:
    turns = [
        {"role": "user", "content": "what time is it?"},
        {"role": "assistant", "content": [{**CALL, **CACHE}]},
        {"role": "user", "content": [{**RESULT, **CACHE}]},
    ]
    said = messages_conversation({"messages": turns})
    _, called, answered = converse_body(ON_BEDROCK, said)["messages"]
    assert called["content"] == [{"toolUse": {"toolUseId": "a", "name": "clock", "input": {}}}, POINT]
    result = {"toolUseId": "a", "content": [{"text": "noon"}]}
    assert answered["content"] == [{"toolResult": result}, POINT]
    _, called, answered = messages_body(CLAUDE, said)["messages"]
    assert called["content"][0]["cache_control"] == answered["content"][0]["cache_control"] == EPHEMERAL


def test_nothing_is_kept_that_no_client_asked_for() -> None:
    turns = [{"role": "user", "content": [PICTURE, DOCUMENT]}, {"role": "assistant", "content": [CALL]},
             {"role": "user", "content": [RESULT]}]  # fmt: skip
    said = messages_conversation({"messages": turns})
    assert "cachePoint" not in str(converse_body(ON_BEDROCK, said))
    assert "cache_control" not in str(messages_body(CLAUDE, said))


@pytest.mark.parametrize("mark", [CACHE, {"prompt_cache_breakpoint": {"mode": "explicit"}}], ids=["theirs", "openais"])
def test_openais_clients_say_it_in_either_word(mark: dict[str, Any]) -> None:
    text = {"type": "text", "text": "long"}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    for part in (text, picture):
        said = chat_conversation({"messages": [{"role": "user", "content": [{**part, **mark}]}]})
        assert messages_body(CLAUDE, said)["messages"][0]["content"][0]["cache_control"] == EPHEMERAL


def test_an_input_item_has_openais_own_word_alone() -> None:
    part = {"type": "input_text", "text": "long", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}
    said = responses_conversation({"input": [{"role": "user", "content": [part]}]})
    assert messages_body(CLAUDE, said)["messages"][0]["content"] == [{"type": "text", "text": "long", **CACHE}]
