"""Answers of Google's generateContent, whole and streamed: a stream's events are answers too, each with the next parts.

Source: ai.google.dev API reference, "GenerateContentResponse".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from routing.conversation import (
    Began,
    Block,
    Delta,
    Ended,
    Finish,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
)
from routing.errors import ImpossibleUsage, UpstreamError
from routing.token_usage import TokenUsage
from routing.tokens import count_tokens
from routing.upstreams.billed import Billed
from routing.upstreams.gemini.grounding import Grounding
from routing.upstreams.json_objects import encode, object_in
from routing.upstreams.signatures import marked
from routing.upstreams.turns import plain_id
from routing.upstreams.vendor_errors import raise_for_error
from spendhub.ids import new_id

_CUT = ("MAX_TOKENS", "CONTINUATION")
_FILTERED = re.compile(r"SAFETY|RECITATION|LANGUAGE|BLOCKLIST|PROHIBITED|SPII|MODEL_ARMOR|ESCALATION|JAILBREAK|PUP_")


class ContentsReader(Billed):
    """Reads generated contents and their streams.

    Every event of a stream counts what was used so far; `usage` is what the last one says, None before it. What was
    said until then is in `usage_so_far`, for a stream that breaks off. Each event carries usage, so each is parsed.
    """

    def __init__(self) -> None:
        self.usage: TokenUsage | None = None
        self.usage_so_far: TokenUsage | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.is_complete = False
        self._answer: dict[str, Any] = {}
        self._produced: list[str] = []
        # The event that was read last: `deltas` is asked about the same bytes.
        self._last: tuple[bytes, dict[str, Any]] = (b"", {})
        self._has_begun = False
        self._has_ended = False
        self._calls = 0
        self._own_id = ""
        self._is_blocked = False
        self._grounding = Grounding()

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader."""
        self._answer = answer = object_in(body)
        self._take(answer)
        self._take_usage(answer, is_last=True)
        self.is_complete = True
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader."""
        event = object_in(data)
        raise_for_error(event)
        self._last = (data, event)
        self._take(event)
        self._take_usage(event, is_last=self.finish_reason is not None)
        self.is_complete = self.finish_reason is not None
        return event if isinstance(event.get("usageMetadata"), dict) else None

    def passes_over(self, complete: bytes) -> bool:
        """See UsageReader. Each event carries usage, so each is read."""
        return False

    def produced_tokens(self) -> int:
        """See UsageReader. Not less than the vendor has counted itself: most thoughts are not shown."""
        total = sum(count_tokens(said) for said in self._produced)
        return max(total, self.usage_so_far.output_tokens if self.usage_so_far else 0)

    def reply(self) -> Reply:
        """See UsageReader. The first candidate alone: no more are asked for."""
        if not isinstance(self._answer.get("candidates"), list) and self.finish_reason is None:
            raise UpstreamError("the vendor's answer has no candidates")
        blocks: list[Block] = []
        self._calls = 0
        for part in _parts(self._answer):
            signature = marked("gemini", str(part.get("thoughtSignature") or ""))
            call = part.get("functionCall")
            if isinstance(call, dict):
                name, arguments = str(call.get("name") or ""), encode(call.get("args") or {}).decode()
                blocks.append(ToolCall(self._id_of(call), name, arguments, signature))
            elif part.get("thought"):
                blocks.append(Thinking(str(part.get("text") or ""), signature))
            else:
                if part.get("text"):
                    blocks.append(Text(str(part["text"])))
                if signature:
                    # The signature of all thoughts before may come with the words that follow them.
                    blocks.append(Thinking(signature=signature))
        return Reply(
            id=self.response_id or "",
            model=str(self._answer.get("modelVersion") or ""),
            blocks=tuple(blocks),
            finish=self._finish(),
            usage=self.usage,
        )

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """See UsageReader."""
        event = self._last[1] if data is self._last[0] else object_in(data)
        found: list[Delta] = []
        if not self._has_begun:
            self._has_begun = True
            found.append(Began(self.response_id or "", str(event.get("modelVersion") or "")))
        if self._has_ended:
            return found
        for part in _parts(event):
            found += self._said(part)
        if _finish_reason(event) is not None:
            self._has_ended = True
            found.append(Ended(self._finish()))
        return found

    def _said(self, part: Mapping[str, Any]) -> Iterator[Delta]:
        signature = marked("gemini", str(part.get("thoughtSignature") or ""))
        call = part.get("functionCall")
        if isinstance(call, dict):
            index = self._calls
            yield ToolCallBegan(index, self._id_of(call), str(call.get("name") or ""), signature)
            yield ToolCallDelta(index, encode(call.get("args") or {}).decode())
        elif part.get("thought"):
            yield ThinkingDelta(str(part.get("text") or ""), signature)
        else:
            if part.get("text"):
                yield TextDelta(str(part["text"]))
            if signature:
                yield ThinkingDelta(signature=signature)

    def _id_of(self, call: Mapping[str, Any]) -> str:
        """Google's own id of a call, or one made of the answer's id and the call's place in it."""
        place, self._calls = self._calls, self._calls + 1
        if call.get("id"):
            return str(call["id"])
        self._own_id = self._own_id or plain_id(self.response_id or new_id().hex)
        return f"call_{self._own_id}_{place}"

    def _finish(self) -> Finish:
        reason = self.finish_reason or "STOP"
        if reason in _CUT:
            return "length"
        if self._is_blocked or _FILTERED.search(reason):
            return "content_filter"
        return "tool_calls" if self._calls else "stop"

    def _take(self, event: Mapping[str, Any]) -> None:
        self.response_id = event.get("responseId") or self.response_id
        self.finish_reason = _finish_reason(event) or self.finish_reason
        # Whatever the reason is called ("OTHER" among them), a question that is blocked is a refusal of its content.
        self._is_blocked = self._is_blocked or bool(_block_reason(event))
        for candidate in _candidates(event):
            for part in _parts_of(candidate):
                if isinstance(part.get("text"), str):
                    self._produced.append(part["text"])
                elif isinstance(part.get("functionCall"), dict):
                    self._produced.append(encode(part["functionCall"]).decode())

    def _take_usage(self, event: Mapping[str, Any], *, is_last: bool) -> None:
        usage = event.get("usageMetadata")
        self._grounding.take(event)
        if isinstance(usage, dict):
            self.note_tier(usage.get("serviceTier"))
            if self._grounding.has_maps:
                self.note_not_priced("google_maps")
            try:
                self.usage_so_far = TokenUsage.from_gemini(usage, self._grounding.searches())
            except ImpossibleUsage as error:
                raise UpstreamError(f"the vendor reported impossible usage: {error.message}") from None
        # The event that ends an answer and says no usage leaves it open, whatever was counted on the way.
        if is_last and isinstance(usage, dict):
            self.usage = self.usage_so_far


def _candidates(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    candidates = event.get("candidates")
    return [each for each in candidates if isinstance(each, dict)] if isinstance(candidates, list) else []


def _candidate(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((each for each in _candidates(event) if each.get("index", 0) == 0), {})


def _parts(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _parts_of(_candidate(event))


def _parts_of(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _finish_reason(event: Mapping[str, Any]) -> str | None:
    """Why the answer ended, or why the question was not answered at all."""
    reason = _block_reason(event) or _candidate(event).get("finishReason")
    return str(reason) if reason and reason != "FINISH_REASON_UNSPECIFIED" else None


def _block_reason(event: Mapping[str, Any]) -> Any:
    feedback = event.get("promptFeedback")
    return feedback.get("blockReason") if isinstance(feedback, dict) else None
