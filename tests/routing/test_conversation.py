"""What stands between a client's words and a vendor's."""

from __future__ import annotations

from typing import Any

import pytest

from routing.conversation import ToolCall, arguments_of
from routing.upstreams.json_objects import encode


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"city": "Zürich", "id": 12345678901234567890123456789}', {"city": "Zürich", "id": 12345678901234567890123456789}),
        ("", {}),
        ("[1]", {"_": "[1]"}),
        ('{"city": ', {"_": '{"city": '}),
        (r'{"a": "\ud83d"}', {"a": "\ufffd"}),
        ("[" * 2_000, {"_": "[" * 2_000}),
        ('{"a":' * 2_000, {"_": '{"a":' * 2_000}),
        ('{"a": 1e999}', {"_": '{"a": 1e999}'}),
    ],
)  # fmt: skip
def test_a_calls_arguments_are_an_object_that_can_be_written_again(text: str, found: dict[str, Any]) -> None:
    assert arguments_of(ToolCall("call_1", "weather", text)) == found
    encode(found)
