"""Tools whose names a vendor would refuse are told it under plain ones, and called by their own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from routing.conversation import Conversation, Message, Text, Tool, ToolCall, ToolChoice, ToolResult
from routing.upstreams.tool_names import GOOGLES, PLAIN, in_plain_names
from tests.routing.upstreams.vendors import Spoken, ask, joined

LONG = "mcp__a_server_with_quite_a_long_name__and_a_tool_of_it_with_a_long_one_too"
ODD = "weather.in-city:now/please"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
ASKED = Conversation((Message("user", (Text("use tool: the weather?"),)),), tools=(Tool(ODD, "Weather.", SCHEMA),))
# What is plain of it; digits of its own follow.
PLAIN_ODD = "weather_in-city_now_please_"
NAME_KEYS = ("name", "allowedFunctionNames")


def names_in(value: Any) -> set[str]:
    """What stands under a name's key, wherever it is, but for those of schemas and models."""
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if not isinstance(value, dict):
        return set()
    own = {
        each
        for key in NAME_KEYS
        for each in ([value[key]] if isinstance(value.get(key), str) else value.get(key) or ())
    }
    return own.union(*map(names_in, value.values()))


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_tool_of_an_odd_name_is_told_plainly_and_called_by_its_own(remote: Spoken, is_stream: bool) -> None:
    heard = ask(remote, ASKED, is_stream=is_stream)
    reply = joined(heard.deltas, heard.usage) if is_stream else heard.reply
    assert reply is not None and heard.error is None
    (call,) = reply.blocks
    assert isinstance(call, ToolCall) and call.name == ODD
    (told,) = names_in(remote.sent()["body"])
    assert PLAIN.fullmatch(told) and told.startswith(PLAIN_ODD)


def test_the_history_and_the_choice_are_told_in_the_same_names(remote: Spoken) -> None:
    call = ToolCall("call_1", ODD, '{"city":"Rom"}')
    result = ToolResult("call_1", (Text("22"),), name=ODD)
    named = ToolChoice("named", ODD)
    asked = replace(
        ASKED, messages=(*ASKED.messages, Message("assistant", (call,)), Message("user", (result,))), tool_choice=named
    )
    plainly, own_names = in_plain_names(asked, PLAIN)
    (told,) = own_names
    assert plainly.tools[0].name == told
    assert plainly.tool_choice == replace(named, name=told)
    assert plainly.messages[1].blocks == (replace(call, name=told),)
    assert plainly.messages[2].blocks == (replace(result, name=told),)
    heard = ask(remote, replace(asked, tool_choice=None))
    assert heard.error is None
    assert names_in(remote.sent()["body"]) == {told}


def test_names_that_are_taken_stay_and_nothing_is_made_anew() -> None:
    asked = replace(ASKED, tools=(Tool("weather-2"), Tool("_w" * 32)))
    assert in_plain_names(asked, PLAIN) == (asked, {})
    assert in_plain_names(asked, PLAIN)[0] is asked


@pytest.mark.parametrize(
    ("name", "is_googles"), [(ODD, False), ("a.b:c", True), ("3d", False), (LONG, False), ("wo zu?", False)]
)
def test_each_plain_name_is_taken_by_everybody(name: str, is_googles: bool) -> None:
    _, own_names = in_plain_names(replace(ASKED, tools=(Tool(name),)), GOOGLES)
    assert list(own_names.values()) == ([] if is_googles else [name])
    assert all(PLAIN.fullmatch(plain) and re.match("[a-zA-Z_]", plain) for plain in own_names)


def test_a_plain_name_stays_the_same_whatever_stands_beside_it_and_is_nobody_elses() -> None:
    alone = in_plain_names(ASKED, PLAIN)[1]
    beside = in_plain_names(replace(ASKED, tools=(Tool(LONG), Tool(LONG + "!"), *ASKED.tools)), PLAIN)[1]
    assert len(beside) == 3 and alone.items() <= beside.items()
    (taken,) = alone
    other = in_plain_names(replace(ASKED, tools=(*ASKED.tools, Tool(taken))), PLAIN)[1]
    assert list(other.values()) == [ODD] and taken not in other
