"""OpenAI's embeddings towards clients: every form of input, and nothing that could be translated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import NotTranslatable
from routing.tokens import estimate_input_tokens
from spendhub.gateway.openai.embeddings import EMBEDDINGS_DIALECT


@pytest.mark.parametrize(
    ("given", "text", "tokens"),
    [("abcdef", "abcdef", 2), (["abc", "def"], "abc\ndef", 2), ([1, 50_000, 3], "", 3), ([[1, 2], [3]], "", 3)],
)
def test_every_form_of_input_is_taken(given: Any, text: str, tokens: int) -> None:
    raw = json.dumps({"model": "m", "input": given, "dimensions": 8, "user": "ada"}).encode()
    request = EMBEDDINGS_DIALECT.parse(raw)
    assert (request.kind, request.max_output_tokens, request.is_stream) == ("embedding", 0, False)
    assert request.body == json.loads(raw) and request.user == "ada"
    assert EMBEDDINGS_DIALECT.needs(request) == {"embeddings"}
    assert EMBEDDINGS_DIALECT.text(request) == text
    assert estimate_input_tokens(request.body) == 3 + tokens
    assert EMBEDDINGS_DIALECT.with_max_output(request, 5) == request


def test_an_embedding_can_only_be_asked_of_a_vendor_who_speaks_openais_format() -> None:
    request = EMBEDDINGS_DIALECT.parse(b'{"model":"m","input":"x"}')
    with pytest.raises(NotTranslatable) as refused:
        EMBEDDINGS_DIALECT.conversation(request)
    assert refused.value.details["field"] == "input"
