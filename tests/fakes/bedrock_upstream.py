"""A vendor for tests that speaks Amazon Bedrock's Converse API; see vendor.py for its faults.

Its streams are Amazon's binary event streams; `[fault:bad-crc]` breaks a checksum in mid-stream, `[fault:no-metadata]`
leaves out the event that says the usage. A bearer token is taken as it is, but for `refused`; a signature is computed
again by botocore, with the secret of `ACCESS_KEY`.

In the test's process: `with FakeBedrock() as upstream: upstream.base_url`. On its own:
`python -m tests.fakes.bedrock_upstream --port 9003`, its base URL then is
http://127.0.0.1:9003/bedrock-runtime.eu-central-1 (the region to sign for is read from it, as from AWS's own).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from struct import pack
from typing import Any
from urllib.parse import unquote
from zlib import crc32

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.vendor import WORDS_OF_ANSWER, Answer, FakeVendor, bits_of, pieces_of, plan, run, to_json, words_in

__all__ = ["WORDS_OF_ANSWER", "FakeBedrock"]
REGION = "eu-central-1"
ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN = (
    "AKIDEXAMPLE123456789",
    "wJalrXUtnFEMI/K7MDENG+bPxRfi=",
    "FwoGZXIvYXdz==",
)
ACCESS_KEY = f"{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}"
TEMPORARY_KEY = f"{ACCESS_KEY}:{SESSION_TOKEN}"
SIGNATURE = "EqQBCgIYAhIkZmFrZQ=="
REDACTED = "cmVkYWN0ZWQ="
_CALL = re.compile(r"/bedrock-runtime\.eu-central-1/model/([^/]+)/(converse|converse-stream)")
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/bedrock/aws4_request, SignedHeaders=([^,]+), Sig"
)
EXCEPTIONS = {400: "validationException", 429: "throttlingException", 500: "internalServerException"}


class FakeBedrock(FakeVendor):
    """As AWS."""

    base_path = f"/bedrock-runtime.{REGION}"
    stream_type = "application/vnd.amazon.eventstream"
    named: Mapping[str, str] = {"x-amzn-requestid": "req_fake"}

    def serves(self, method: str, path: str) -> bool:
        return method == "POST" and _CALL.fullmatch(path) is not None

    def is_stream(self, path: str, body: Mapping[str, Any]) -> bool:
        return path.endswith("/converse-stream")

    def why_refused(self, path: str, headers: Mapping[str, str], raw: bytes) -> str | None:
        given = headers.get("authorization", "")
        if given.startswith("Bearer "):
            return "The security token included in the request is invalid." if given == "Bearer refused" else None
        found = _SIGNED.match(given)
        if found is None:
            return "Missing Authentication Token"
        key, region, names = found[1], found[2], found[3].split(";")
        if key != ACCESS_KEY_ID or headers.get("x-amz-security-token") not in (None, SESSION_TOKEN):
            return "The security token included in the request is invalid."
        if region != REGION:
            return f"Credential should be scoped to a valid region, not {region}."
        if not given.endswith(f"Signature={_signature(path, {name: headers[name] for name in names}, raw)}"):
            return "The request signature we calculated does not match the signature you provided."
        return None

    def plan(self, path: str, body: Mapping[str, Any]) -> Answer:
        content = body["messages"][-1]["content"]
        asked = " ".join(str(part.get("text", "")) for part in content)
        results = [part["toolResult"] for part in content if "toolResult" in part]
        config = body.get("toolConfig", {})
        extra = body.get("additionalModelRequestFields", {}).get("tool_choice", {})
        is_asked = not results and extra.get("type") != "none"
        specs = [tool["toolSpec"]["name"] for tool in config.get("tools", ()) if "toolSpec" in tool]
        words = sum(4 + words_in(part) for message in body["messages"] for part in message["content"]) + 3
        said = [str(part.get("text", "")) for result in results for part in result["content"]]
        tool = specs[0] if specs and is_asked else None
        return plan(asked, model=_model_of(path), tool=tool, words=words, result=" ".join(said))

    def whole(self, path: str, body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        told: dict[str, Any] = {
            "metrics": {"latencyMs": 551},
            "output": {"message": {"content": list(_content(answer)), "role": "assistant"}},
            **_stop(body, answer),
            "usage": _usage(answer),
        }
        if answer.fault == "no-usage":
            del told["usage"]
        return told

    def events(self, path: str, body: Mapping[str, Any], answer: Answer) -> Iterator[bytes]:
        yield event("messageStart", role="assistant")
        for index, block in enumerate(_content(answer)):
            if "toolUse" in block:
                start = {name: block["toolUse"][name] for name in ("name", "toolUseId")}
                yield event("contentBlockStart", contentBlockIndex=index, start={"toolUse": start})
            for delta in _deltas(block):
                yield event("contentBlockDelta", contentBlockIndex=index, delta=delta)
            yield event("contentBlockStop", contentBlockIndex=index)
        yield event("messageStop", **_stop(body, answer))
        metadata: dict[str, Any] = {"metrics": {"latencyMs": 551}, "usage": _usage(answer)}
        if answer.fault == "no-usage":
            del metadata["usage"]
        if answer.fault != "no-metadata":
            yield event("metadata", **metadata)

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"message": message}

    def error_event(self, path: str, status: int, message: str) -> bytes:
        return exception(EXCEPTIONS.get(status, "serviceUnavailableException"), message)

    def _faulty(self, events: Iterator[bytes], fault: str) -> Iterator[bytes]:
        for index, each in enumerate(events):
            is_broken = fault == "bad-crc" and index == 3
            yield each[:-1] + bytes([each[-1] ^ 1]) if is_broken else each
            if fault == "malformed-sse" and index:
                yield message({":event-type": "contentBlockDelta", ":message-type": "event"}, b"{not json")


def event(kind: str, **payload: Any) -> bytes:
    """An event of a stream. The vendor fills it up with `p`, so that its length tells nothing of the words in it."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, to_json({**payload, "p": "abcdefg"}))


def exception(kind: str, words: str) -> bytes:
    """An exception of the service's model in mid-stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, to_json({"message": words}))


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of Amazon's event streams, with texts for headers."""
    raw = b"".join(
        pack("!B", len(name)) + name.encode() + pack("!BH", 7, len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = pack("!II", 16 + len(raw) + len(payload), len(raw))
    whole = prelude + pack("!I", crc32(prelude)) + raw + payload
    return whole + pack("!I", crc32(whole))


def _signature(path: str, headers: Mapping[str, str], raw: bytes) -> str:
    """The signature that these headers and this body should have, by AWS's own code."""
    request = AWSRequest("POST", f"http://{headers['host']}{path}", headers=dict(headers), data=raw)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY), "bedrock", REGION)
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


def _model_of(path: str) -> str:
    found = _CALL.fullmatch(path)
    return unquote(found[1]) if found else ""


def _stop(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    stops = body.get("inferenceConfig", {}).get("stopSequences", [])
    if "/stop_sequence" in body.get("additionalModelResponseFieldPaths", ()) and answer.text.endswith(" by a stop"):
        return {"stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": stops[0]}}
    if answer.fault == "blocked":
        return {"stopReason": "content_filtered"}
    if answer.fault in ("filtered", "filtered-late"):
        return {"stopReason": "guardrail_intervened"}
    return {"stopReason": "tool_use" if answer.calls else "end_turn"}


def _content(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thoughts == "redacted":
        yield {"reasoningContent": {"redactedContent": REDACTED}}
    elif answer.thoughts:
        yield {"reasoningContent": {"reasoningText": {"signature": SIGNATURE, "text": answer.thoughts}}}
    if answer.text and answer.fault not in ("blocked", "filtered"):
        yield {"text": answer.text}
    for number, (name, arguments) in enumerate(answer.calls, 1):
        yield {"toolUse": {"input": arguments, "name": name, "toolUseId": f"tooluse_{number}"}}


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "text" in block:
        for piece in pieces_of(block["text"]):
            yield {"text": piece}
    elif "toolUse" in block:
        for piece in bits_of(json.dumps(block["toolUse"]["input"], ensure_ascii=False)):
            yield {"toolUse": {"input": piece}}
    elif "redactedContent" in block["reasoningContent"]:
        yield {"reasoningContent": {"redactedContent": REDACTED}}
    else:
        thought = block["reasoningContent"]["reasoningText"]
        for piece in pieces_of(thought["text"]):
            yield {"reasoningContent": {"text": piece}}
        yield {"reasoningContent": {"signature": thought["signature"]}}


def _usage(answer: Answer) -> dict[str, Any]:
    written = answer.written + answer.written_1h
    usage: dict[str, Any] = {
        "inputTokens": answer.prompt,
        "outputTokens": answer.all_output,
        "totalTokens": answer.all_input + answer.all_output,
        "cacheReadInputTokens": answer.cached,
        "cacheWriteInputTokens": written,
    }
    if written:
        split = (("1h", answer.written_1h), ("5m", answer.written))
        usage["cacheDetails"] = [{"ttl": ttl, "inputTokens": tokens} for ttl, tokens in split if tokens]
    if answer.fault == "impossible-usage":
        usage["cacheDetails"] = [{"ttl": "1h", "inputTokens": 999_999}]
    return usage


if __name__ == "__main__":
    run(FakeBedrock)
