"""A vendor for tests that speaks OpenAI's formats as Azure does: at its v1 address and at one for each deployment.

It wants the key as `api-key`, and at a deployment's address the version of its API; it adds what its content filter
found to every answer, begins a stream with an event that has nothing else, and names the model with its date.
Its refusals of content (`[fault:400]`) have Azure's own shape. Shapes: tests/routing/upstreams/recorded/azure-*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.openai_upstream import CHAT, EMBEDDINGS, RESPONSES, FakeOpenAI
from tests.fakes.vendor import Answer, sse

V1 = "/openai/v1"
DEPLOYMENTS = "/openai/deployments/"
SAFE = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": False, "severity": "safe"}}
PROMPT_RESULTS = [{"prompt_index": 0, "content_filter_results": SAFE}]
DATE = "-2025-08-07"


class FakeAzure(FakeOpenAI):
    """As Azure OpenAI. `base_url` is its v1 address, `deployments_url` that of its deployments."""

    base_path = V1

    @property
    def deployments_url(self) -> str:
        """As a provider row would say it."""
        return f"http://127.0.0.1:{self.port}{DEPLOYMENTS}{{deployment}}?api-version=2024-10-21"

    def serves(self, method: str, path: str) -> bool:
        return method == "POST" and _openais(path) in (CHAT, RESPONSES, EMBEDDINGS)

    def why_refused(self, path: str, headers: Mapping[str, str], raw: bytes) -> str | None:
        if headers.get("api-key") != "sk-fake" or "authorization" in headers:
            return "Access denied due to invalid subscription key."
        parts = urlsplit(path)
        if parts.path.startswith(DEPLOYMENTS) != ("api-version" in parse_qs(parts.query)):
            return "The api-version query belongs to a deployment's address alone, and there it must be."
        return None

    def plan(self, path: str, body: Mapping[str, Any]) -> Answer:
        return super().plan(_openais(path), body)

    def whole(self, path: str, body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        told = super().whole(_openais(path), _dated(path, body), answer)
        if _openais(path) != CHAT:
            return told
        choices = [{**choice, "content_filter_results": SAFE} for choice in told["choices"]]
        return {**told, "choices": choices, "prompt_filter_results": PROMPT_RESULTS}

    def events(self, path: str, body: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
        found = super().events(_openais(path), _dated(path, body), answer)
        if _openais(path) != CHAT:
            yield from found
            return
        yield sse({"choices": [], "created": 0, "id": "", "model": "", "object": "",
                   "prompt_filter_results": PROMPT_RESULTS})  # fmt: skip
        for event in found:
            yield event if b"[DONE]" in event else _with_results(event)

    def error(self, status: int, message: str) -> dict[str, Any]:
        if status != 400:
            return super().error(status, message)
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": SAFE}
        told = {"message": f"The response was filtered: {message}", "type": None, "param": "prompt"}
        return {"error": {**told, "code": "content_filter", "status": 400, "innererror": inner}}


def _openais(path: str) -> str:
    """The route as OpenAI has it, the path itself where Azure has none there."""
    parts = urlsplit(path).path
    if parts.startswith(V1):
        return f"/v1{parts.removeprefix(V1)}"
    if parts.startswith(DEPLOYMENTS):
        _, _, rest = parts.removeprefix(DEPLOYMENTS).partition("/")
        return f"/v1/{rest}" if rest != "responses" else path
    return path


def _dated(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    parts = urlsplit(path).path
    deployment = parts.removeprefix(DEPLOYMENTS).partition("/")[0] if parts.startswith(DEPLOYMENTS) else ""
    return {**body, "model": f"{unquote(deployment) or body.get('model')}{DATE}"}


def _with_results(event: bytes) -> bytes:
    told = json.loads(event.removeprefix(b"data: "))
    told["choices"] = [{**choice, "content_filter_results": SAFE} for choice in told["choices"]]
    return sse(told)
