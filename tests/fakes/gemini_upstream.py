"""A vendor for tests that speaks Google's generateContent; see vendor.py for its faults. Four are its own: `failed` (it ends
in a malformed call, without a word; `failed-late`: after its words), `stops` (each event of its stream says STOP, and the
sources of a search come last), `pictures` (one behind the words), `empty` (an answer without candidates).

In the test's process: `with FakeGemini() as upstream: upstream.base_url`. On its own:
`python -m tests.fakes.gemini_upstream --port 9002`, its base URL then is http://127.0.0.1:9002/v1beta.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.fakes.vendor import WORDS_OF_ANSWER, Answer, FakeVendor, pieces_of, plan, run, sse, words_in

__all__ = ["WORDS_OF_ANSWER", "FakeGemini"]
SIGNATURE = "CiQBjz1rXfak"
LOGPROB = -0.5
EMBEDDINGS = "/v1beta/openai/embeddings"
_CALL = re.compile(r"/v1beta/models/([^/:?]+):(generateContent|streamGenerateContent\?alt=sse)$")
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class FakeGemini(FakeVendor):
    """As Google."""

    base_path = "/v1beta"
    named: Mapping[str, str] = {}

    def serves(self, method: str, path: str) -> bool:
        return method == "POST" and (path == EMBEDDINGS or _CALL.match(path) is not None)

    def is_stream(self, path: str, body: Mapping[str, Any]) -> bool:
        return "streamGenerateContent" in path

    def plan(self, path: str, body: Mapping[str, Any]) -> Answer:
        if path == EMBEDDINGS:
            planned = plan(str(body["input"]), model=str(body["model"]), tool=None, words=words_in(body["input"]))
            planned.completion, planned.text = 0, ""
            return planned
        found = _CALL.match(path)
        parts = body["contents"][-1]["parts"]
        asked = " ".join(str(part.get("text", "")) for part in parts)
        functions = [function for tool in body.get("tools") or () for function in tool.get("functionDeclarations", ())]
        mode = body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode")
        results = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
        tool = functions[0]["name"] if functions and not results and mode != "NONE" else None
        words = sum(4 + words_in(part) for content in body["contents"] for part in content["parts"]) + 3
        result = " ".join(str(value) for each in results for value in each.values())
        planned = plan(asked, model=found[1] if found else "", tool=tool, words=words, result=result)
        planned.completion *= _candidates_in(body)
        return planned

    def whole(self, path: str, body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        if path == EMBEDDINGS:
            usage = {"prompt_tokens": answer.prompt, "total_tokens": answer.prompt}
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            data = [{"object": "embedding", "index": n, "embedding": [0.25, -0.5]} for n in range(len(texts))]
            return {"object": "list", "data": data, "model": body["model"], "usage": usage}
        return _asked(_chunk(path, answer, list(_parts(answer)), is_last=True), body, range(_candidates_in(body)))

    def events(self, path: str, body: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
        parts = []
        for part in _parts(answer):
            if "text" in part:
                bits = pieces_of(part["text"])
                parts += [{**part, "text": bit} for bit in bits]
            else:
                parts.append(part)
        if answer.fault == "blocked":
            yield sse(_chunk(path, answer, [], is_last=True))
            return
        if answer.fault == "empty":
            yield sse(_chunk(path, answer, [], is_last=True))
            return
        if answer.fault == "stops":
            yield from (sse(_chunk(path, answer, [part], is_last=True)) for part in [{"text": ""}, *parts])
            sources = {"webSearchQueries": ["the weather"], "groundingChunks": [{"web": {"uri": "https://x.test"}}]}
            yield sse({"candidates": [{"groundingMetadata": sources, "index": 0}], "responseId": "rSp0nseFake"})
            return
        for number, part in enumerate(parts):
            for index in range(_candidates_in(body)):
                yield sse(_asked(_chunk(path, answer, [part], is_last=False, so_far=number), body, [index]))
        for index in range(_candidates_in(body)):
            yield sse(_asked(_chunk(path, answer, [{"text": ""}], is_last=True), body, [index]))

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": STATUSES.get(status, "UNKNOWN")}}


def _candidates_in(body: Mapping[str, Any]) -> int:
    return int(body.get("generationConfig", {}).get("candidateCount", 1))


def _asked(chunk: dict[str, Any], body: Mapping[str, Any], indices: Iterable[int]) -> dict[str, Any]:
    """The chunk with its one candidate, if any, as each of `indices`, and how likely its words were, if that is asked."""
    if "candidates" not in chunk:
        return chunk
    (candidate,) = chunk["candidates"]
    config = body.get("generationConfig", {})
    if config.get("responseLogprobs"):
        parts = candidate["content"]["parts"]
        words = [word for part in parts if not part.get("thought") for word in pieces_of(part.get("text", ""))]
        candidate = {**candidate, "logprobsResult": _likelihoods(words, config.get("logprobs", 0))}
    return {**chunk, "candidates": [{**candidate, "index": index} for index in indices]}


def _likelihoods(words: list[str], top: int) -> dict[str, Any]:
    """Each word is a token; the likeliest in its place is itself, and the others are numbers."""
    chosen = [{"token": word, "tokenId": 7, "logProbability": LOGPROB} for word in words]
    others = [{"token": str(number), "tokenId": number, "logProbability": 2 * LOGPROB} for number in range(1, top)]
    tops = [{"candidates": [token, *others][:top]} for token in chosen]
    return {"chosenCandidates": chosen, "topCandidates": tops}


def _parts(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.fault in ("blocked", "failed", "filtered"):
        return
    if answer.thoughts:
        yield {"text": answer.thoughts, "thought": True}
    if answer.text:
        yield {"text": answer.text}
    if answer.fault == "pictures":
        yield {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    for number, (name, arguments) in enumerate(answer.calls):
        part: dict[str, Any] = {"functionCall": {"name": name, "args": arguments}}
        if number == 0:
            part["thoughtSignature"] = SIGNATURE
        yield part


def _chunk(
    path: str, answer: Answer, parts: list[dict[str, Any]], *, is_last: bool, so_far: int | None = None
) -> dict[str, Any]:
    found = _CALL.match(path)
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if is_last:
        has_failed = answer.fault in ("failed", "failed-late")
        is_filtered = answer.fault in ("filtered", "filtered-late")
        candidate["finishReason"] = "MALFORMED_FUNCTION_CALL" if has_failed else "SAFETY" if is_filtered else "STOP"
    usage = _usage(answer)
    if not is_last:
        # On the way it counts what was said so far, and no thoughts.
        usage = {"promptTokenCount": usage["promptTokenCount"], "candidatesTokenCount": so_far or 0}
    chunk: dict[str, Any] = {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": found[1] if found else "",
        "responseId": "rSp0nseFake",
    }
    if answer.fault == "blocked":
        del chunk["candidates"]
        chunk["promptFeedback"] = {"blockReason": "OTHER", "safetyRatings": []}
    if answer.fault == "empty":
        del chunk["candidates"]
    if answer.fault == "no-usage":
        del chunk["usageMetadata"]
    return chunk


def _usage(answer: Answer) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "promptTokenCount": answer.all_input,
        "candidatesTokenCount": answer.completion,
        "totalTokenCount": answer.all_input + answer.all_output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.all_input}],
    }
    if answer.cached:
        usage["cachedContentTokenCount"] = answer.cached
    if answer.reasoning:
        usage["thoughtsTokenCount"] = answer.reasoning
    if answer.fault == "impossible-usage":
        usage["cachedContentTokenCount"] = 999_999
    return usage


if __name__ == "__main__":
    run(FakeGemini)
