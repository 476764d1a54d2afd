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
    Choice,
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
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.tokens import count_tokens
from routing.upstreams.billed import Billed
from routing.upstreams.gemini.grounding import Grounding
from routing.upstreams.gemini.logprobs import logprobs_in
from routing.upstreams.json_objects import encode, object_in
from routing.upstreams.signatures import marked
from routing.upstreams.sse import DONE
from routing.upstreams.turns import plain_id
from routing.upstreams.vendor_errors import gave_up, raise_for_error, raise_for_error_answer, raise_unless_list
from spendhub.ids import new_id

_CUT = ("MAX_TOKENS", "CONTINUATION")
FILTERED = re.compile(r"SAFETY|RECITATION|LANGUAGE|BLOCKLIST|PROHIBITED|SPII|MODEL_ARMOR|ESCALATION|JAILBREAK|PUP_")
FAILED = re.compile(r"MALFORMED|UNEXPECTED_TOOL|TOO_MANY_TOOL|MISSING_THOUGHT|OTHER|NO_IMAGE")

# Of a part, what is told to clients of other formats, or says nothing to them.
_TOLD = ("text", "thought", "thoughtSignature", "functionCall", "executableCode", "codeExecutionResult")
_NO_LANGUAGE = "language_unspecified"
_LINE_END = "\n"


class ContentsReader(Billed):
    """Reads generated contents and their streams.

    A stream ends where its body does. Its word for why it ends is no sign of that: it may stand on each event, or
    before the text, and the sources of a search come after it. So an answer has ended for the reason that was given
    last, and the end is told where the body has ended: `missing_end`.

    Every event of a stream counts what was used so far; `usage` is what was said last, None while an answer goes on or
    has said words that were not counted. What was said until then is in `usage_so_far`, for a stream that breaks off.
    Each event carries usage, so each is parsed.

    An answer that failed before a word of it was said, or a call of a tool with its arguments, is an error, but to
    Google's own clients (`is_native`): they know its finish reasons.
    """

    ends_with_body = True

    def __init__(self, *, is_native: bool = False) -> None:
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
        # Candidates that have begun and not said why they end, and what the others have said last.
        self._going_on: set[int] = set()
        self._reasons: dict[int, str] = {}
        self._calls: dict[int, int] = {}  # by candidate, how many it has made
        self._own_id = ""
        self._is_blocked = False
        self._grounding = Grounding()
        self._counts: dict[str, Any] | None = None  # as the vendor has said them last
        self._is_counted = False  # nothing was said after that
        self._is_native = is_native
        self._has_said = False
        self._failed: dict[int, UpstreamError] = {}

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader."""
        self._answer = answer = object_in(body)
        self._take(answer)
        self._take_usage(answer, says_more=True)
        self.usage = self.usage_so_far
        raise_for_error_answer(answer)
        if not (self._is_blocked or self._is_natively_empty(answer)):  # a question that is blocked has no candidates
            raise_unless_list(answer, "candidates")
        self._raise_if_failed()
        self.is_complete = True
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader."""
        if data == DONE:  # see `missing_end`
            self.is_complete = self._may_end()
            return None
        event = object_in(data)
        raise_for_error(event)
        self._last = (data, event)
        self._take_usage(event, says_more=self._take(event))
        if self._may_end():
            self.usage = self.usage_so_far if self._is_counted else None
            self._raise_if_failed()
        else:
            self.usage = None
        return event if isinstance(event.get("usageMetadata"), dict) else None

    def passes_over(self, complete: bytes) -> bool:
        """See UsageReader. Each event carries usage, so each is read."""
        return False

    def missing_end(self) -> bytes:
        """See UsageReader. No stream of Google's has one: what ends is its body, once all candidates that have begun
        have said why. Google's own clients may be given a stream without any."""
        return DONE if self._may_end() else b""

    def produced_tokens(self) -> int:
        """See UsageReader. Not less than the vendor has counted itself: most thoughts are not shown."""
        total = sum(count_tokens(said) for said in self._produced)
        return max(total, self.usage_so_far.output_tokens if self.usage_so_far else 0)

    def reply(self) -> Reply:
        """See UsageReader."""
        self._calls.clear()
        first, *others = [self._choice(each) for each in sorted(_candidates(self._answer), key=_number)] or [
            Choice((), self._finish(0, self.finish_reason))
        ]
        return Reply(
            id=self.response_id or "",
            model=str(self._answer.get("modelVersion") or ""),
            blocks=first.blocks,
            finish=first.finish,
            usage=self.usage,
            logprobs=first.logprobs,
            others=tuple(others),
        )

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """See UsageReader."""
        if data == DONE and not self._may_end():
            return []  # somebody between Google and us ends a stream that is not whole
        if data == DONE:
            *others, last = sorted(self._reasons) or [0]
            return [*(self._end(number, is_last=False) for number in others), self._end(last, is_last=True)]
        event = self._last[1] if data is self._last[0] else object_in(data)
        found: list[Delta] = []
        if not self._has_begun:
            self._has_begun = True
            found.append(Began(self.response_id or "", str(event.get("modelVersion") or "")))
        for candidate in _candidates(event):
            found += self._said(candidate)
        return found

    def _end(self, number: int, *, is_last: bool) -> Ended:
        return Ended(self._finish(number, self._reasons.get(number)), choice=number, is_last=is_last)

    def _choice(self, candidate: Mapping[str, Any]) -> Choice:
        number, blocks = _number(candidate), list[Block]()
        for part in _parts_of(candidate):
            signature = marked("gemini", str(part.get("thoughtSignature") or ""))
            call = part.get("functionCall")
            if isinstance(call, dict):
                name, arguments = str(call.get("name") or ""), encode(call.get("args") or {}).decode()
                blocks.append(ToolCall(self._id_of(call, number), name, arguments, signature))
            elif part.get("thought"):
                blocks.append(Thinking(str(part.get("text") or ""), signature))
            else:
                if words := _words_of(part):
                    blocks.append(Text(words))
                else:
                    self.note_left_out(*(name for name in part if name not in _TOLD))
                if signature:
                    # The signature of all thoughts before may come with the words that follow them.
                    blocks.append(Thinking(signature=signature))
        finish = self._finish(number, _reason_of(candidate) or self.finish_reason)
        return Choice(tuple(blocks), finish, logprobs_in(candidate))

    def _said(self, candidate: Mapping[str, Any]) -> Iterator[Delta]:
        """What one event says of a candidate."""
        number = _number(candidate)
        likely = logprobs_in(candidate)
        for part in _parts_of(candidate):
            signature = marked("gemini", str(part.get("thoughtSignature") or ""))
            call = part.get("functionCall")
            if isinstance(call, dict):
                index = self._calls.get(number, 0)
                called = self._id_of(call, number)
                yield ToolCallBegan(index, called, str(call.get("name") or ""), signature, number)
                yield ToolCallDelta(index, encode(call.get("args") or {}).decode(), number)
            elif part.get("thought"):
                yield ThinkingDelta(str(part.get("text") or ""), signature, choice=number)
            else:
                if words := _words_of(part):
                    yield TextDelta(words, number, likely)
                    likely = ()
                if signature:
                    yield ThinkingDelta(signature=signature, choice=number)
        if likely:
            yield TextDelta("", number, likely)

    def _id_of(self, call: Mapping[str, Any], number: int) -> str:
        """Google's own id of a call of candidate `number`, or one made of the answer's id and the call's place."""
        place = self._calls.get(number, 0)
        self._calls[number] = place + 1
        if call.get("id"):
            return str(call["id"])
        self._own_id = self._own_id or plain_id(self.response_id or new_id().hex)
        return f"call_{self._own_id}_{number}_{place}" if number else f"call_{self._own_id}_{place}"

    def _finish(self, number: int, reason: str | None) -> Finish:
        reason = reason or "STOP"
        if reason in _CUT:
            return "length"
        if self._is_blocked or FILTERED.search(reason):
            return "content_filter"
        if FAILED.search(reason):
            return "length"
        return "tool_calls" if self._calls.get(number) else "stop"

    def _take(self, event: Mapping[str, Any]) -> bool:
        """Whether the event says anything that must have been counted: words, calls, why it ends."""
        says_more = False
        self.response_id = event.get("responseId") or self.response_id
        self.finish_reason = _finish_reason(event) or self.finish_reason
        # Whatever the reason is called ("OTHER" among them), a question that is blocked is a refusal of its content.
        self._is_blocked = self._is_blocked or bool(_block_reason(event))
        for candidate in _candidates(event):
            says_more = self._take_reason(candidate) or says_more
            for part in _parts_of(candidate):
                if isinstance(part.get("text"), str):
                    self._produced.append(part["text"])
                    self._has_said = self._has_said or (bool(part["text"]) and not part.get("thought"))
                    says_more = says_more or bool(part["text"])
                elif isinstance(part.get("functionCall"), dict):
                    self._produced.append(encode(part["functionCall"]).decode())
                    self._has_said = self._has_said or bool(part["functionCall"].get("args"))
                    says_more = True
        return says_more

    def _take_reason(self, candidate: Mapping[str, Any]) -> bool:
        """Whether the candidate says why it ends."""
        number, reason = _number(candidate), _reason_of(candidate)
        if reason is None:
            if number not in self._reasons:
                self._going_on.add(number)
            return False
        self._going_on.discard(number)
        self._reasons[number] = reason
        if FAILED.search(reason):
            self._failed[number] = gave_up(reason, candidate)
        else:
            self._failed.pop(number, None)
        return True

    def _may_end(self) -> bool:
        """Whether a stream is whole if its body ends now."""
        if self._is_blocked or self._reasons:
            return self._is_blocked or not self._going_on
        return self._is_native and self._counts is not None and not self._going_on

    def _is_natively_empty(self, answer: Mapping[str, Any]) -> bool:
        """Whether Google has answered nothing, and says what that has cost: for its own clients to understand."""
        return self._is_native and answer.get("candidates") is None and self._counts is not None

    def _raise_if_failed(self) -> None:
        if self._failed and not (self._has_said or self._is_native or self._is_blocked):
            raise next(iter(self._failed.values()))

    def _take_usage(self, event: Mapping[str, Any], *, says_more: bool) -> None:
        usage = event.get("usageMetadata")
        self._grounding.take(event)
        if isinstance(usage, dict):
            self.note_tier(usage.get("serviceTier"))
            self._counts = usage
        # Words, and the word for why it ends, leave open what they cost where no usage comes with them or after them.
        self._is_counted = isinstance(usage, dict) or (self._is_counted and not says_more)
        if self._grounding.has_maps:
            self.note_not_priced("google_maps")
        searches = self._grounding.searches()
        so_far = self.usage_so_far
        if self._counts is not None and (self._counts is usage or (so_far and so_far.web_searches != searches)):
            counted = self.usage_in(TokenUsage.from_gemini, self._counts, searches)
            self.usage_so_far = counted or so_far
            self._is_counted = self._is_counted and counted is not None


def _candidates(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    candidates = event.get("candidates")
    return [each for each in candidates if isinstance(each, dict)] if isinstance(candidates, list) else []


def _number(candidate: Mapping[str, Any]) -> int:
    """Which of several candidates it is; Google does not number a first one in every version."""
    index = candidate.get("index")
    return index if isinstance(index, int) else 0


def _parts_of(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _words_of(part: Mapping[str, Any]) -> str:
    """What a part says in words; code that Google has run, and what came of it, stand between fences."""
    if part.get("text"):
        return str(part["text"])
    code, ran = part.get("executableCode"), part.get("codeExecutionResult")
    if isinstance(code, dict):
        language = str(code.get("language") or "").lower()
        return _fenced("" if language == _NO_LANGUAGE else language, str(code.get("code") or ""))
    return _fenced("", str(ran.get("output") or "")) if isinstance(ran, dict) else ""


def _fenced(language: str, code: str) -> str:
    return f"\n```{language}\n{code.removesuffix(_LINE_END)}\n```\n"


def _finish_reason(event: Mapping[str, Any]) -> str | None:
    """Why the first answer ended, or why the question was not answered at all."""
    blocked = _block_reason(event)
    if blocked:
        return str(blocked)
    return next((_reason_of(each) for each in _candidates(event) if _number(each) == 0), None)


def _reason_of(candidate: Mapping[str, Any]) -> str | None:
    reason = candidate.get("finishReason")
    return str(reason) if reason and reason != "FINISH_REASON_UNSPECIFIED" else None


def _block_reason(event: Mapping[str, Any]) -> Any:
    feedback = event.get("promptFeedback")
    return feedback.get("blockReason") if isinstance(feedback, dict) else None
