"""Answers of OpenAI's /chat/completions, as OpenAI and every compatible vendor write them.

Source: OpenAI's API reference, "Chat completions" (object, chunk object, streaming).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from routing.conversation import (
    Began,
    Block,
    Choice,
    Delta,
    Ended,
    Finish,
    Refusal,
    RefusalDelta,
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
from routing.upstreams.json_objects import is_whole_call, object_in, objects_among, readable_objects
from routing.upstreams.odd_answers import tokens_in
from routing.upstreams.openai.logprobs import logprobs_in
from routing.upstreams.sse import DONE, data_in
from routing.upstreams.turns import finish_of
from routing.upstreams.vendor_errors import gave_up, raise_for_error, raise_for_error_answer, raise_unless_list

_USAGE = b'"usage"'
_NONE = (b":null", b": null")
_FINISHES: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # Words of compatible vendors: Mistral; Z.ai (GLM), twice; those who write as Anthropic does.
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "sensitive": "content_filter",
    "max_tokens": "length",
}
# Of those who could not go on: OpenRouter and Mistral; vLLM and SGLang; vLLM; DeepSeek; Z.ai. What was said until then
# is cut; where nothing was, neither words nor a whole call of a tool, it is an error.
FAILED = ("error", "abort", "repetition", "insufficient_system_resource", "network_error")
# Compatible vendors show thinking beside the content, under one of these names.
_THOUGHTS = ("reasoning_content", "reasoning")
# What clients of other formats have no word for: sources, sound (but its words), OpenRouter's pictures.
_LEFT_OUT = ("annotations", "audio", "images")


class ChatReader(Billed):
    """Reads chat completions and their streams. Events without usage are kept unparsed: parsing costs.

    An answer that failed before a word of it was said, or a whole call, is an error; to clients who read it as it comes
    (`is_native`) only where a whole one has its vendor's error in place of a choice.
    """

    def __init__(self, *, is_native: bool = False) -> None:
        self.usage: TokenUsage | None = None
        self.usage_so_far: TokenUsage | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.is_complete = False
        self._events: list[bytes] = []
        self._unread: list[bytes] = []
        self._answer: dict[str, Any] = {}
        self._has_begun = False
        # Of a translated stream: why each choice has ended, None for one that goes on still.
        self._endings: dict[int, str | None] = {0: None}
        # By choice and the vendor's index, which call of ours it is, and its id; and by choice, how many there are.
        self._calls: dict[tuple[int, int], tuple[int, str]] = {}
        self._calls_begun: dict[int, int] = {}
        self._arguments: dict[tuple[int, int], list[str]] = {}  # of each call, by its choice and ours among its calls
        self._is_native = is_native
        self._has_said = False
        self._failed: UpstreamError | None = None

    def read_body(self, body: bytes) -> dict[str, Any]:
        """See UsageReader."""
        self._answer = answer = object_in(body)
        self._take_usage(answer)
        for choice in answer.get("choices") or ():
            if isinstance(choice, dict):
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self._events = [body]
        raise_for_error_answer(answer)
        _raise_unless_said(answer)
        self._raise_if_failed()
        return answer

    def read_event(self, data: bytes) -> dict[str, Any] | None:
        """See UsageReader. Vendors send usage in a last event of its own, or with every event (`null` until then)."""
        if data == DONE:
            self.is_complete = True
            return None
        self._events.append(data)
        if b'"error"' in data:
            self._raise_for_error(data)
        at = data.rfind(_USAGE)
        if at < 0 or data.startswith(_NONE, at + len(_USAGE)):
            return None
        event = object_in(data)
        if _usage_in(event) is None:
            return None
        self._take_usage(event)
        return event

    def passes_over(self, complete: bytes) -> bool:
        """See UsageReader. Of hundreds of events only those with usage, an error or the end must be read."""
        if b'"error"' in complete or DONE in complete:
            return False
        if complete.count(_USAGE) != complete.count(_USAGE + _NONE[0]) + complete.count(_USAGE + _NONE[1]):
            return False
        self._unread.append(complete)
        return True

    def missing_end(self) -> bytes:
        """See UsageReader. Each choice that has begun must have said why it ends."""
        has_ended: dict[int, bool] = {}
        for event in self._told():
            for choice in objects_among(event.get("choices")):
                number = _number(choice)
                has_ended[number] = bool(choice.get("finish_reason")) or has_ended.get(number, False)
        return DONE if has_ended and all(has_ended.values()) else b""

    def produced_tokens(self) -> int:
        """See UsageReader."""
        return tokens_in(self._told(), self._produced_in)

    def _told(self) -> Iterator[dict[str, Any]]:
        """All events so far, or the whole answer."""
        return readable_objects([*data_in(self._unread), *self._events])

    def _produced_in(self, event: Mapping[str, Any]) -> int:
        total = 0
        self.response_id = self.response_id or event.get("id")
        for choice in event.get("choices") or ():
            part = (choice.get("delta") or choice.get("message") or {}) if isinstance(choice, dict) else {}
            for name in ("content", *_THOUGHTS, "refusal"):
                total += sum(count_tokens(words) for _, words in _said_in(part.get(name)))
            called = [call.get("function") for call in part.get("tool_calls") or ()]
            for function in (*called, part.get("function_call")):
                function = function or {}
                total += count_tokens(f"{function.get('name') or ''} {function.get('arguments') or ''}")
        return total

    def reply(self) -> Reply:
        """See UsageReader."""
        choices = [
            choice
            for choice in self._answer["choices"]
            if isinstance(choice, dict) and isinstance(choice.get("message"), dict)
        ]
        self.note_left_out(*(name for name in _LEFT_OUT for choice in choices if choice["message"].get(name)))
        first, *others = map(_choice, choices)
        return Reply(
            id=str(self._answer.get("id") or ""),
            model=str(self._answer.get("model") or ""),
            blocks=first.blocks,
            finish=first.finish,
            usage=self.usage,
            logprobs=first.logprobs,
            others=tuple(others),
        )

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """See UsageReader."""
        if data == DONE:
            is_whole = any(is_whole_call("".join(pieces)) for pieces in self._arguments.values())
            if self._failed is not None and not (self._has_said or is_whole):
                raise self._failed
            *others, last = sorted(self._endings)
            return [*(self._end(number, is_last=False) for number in others), self._end(last, is_last=True)]
        event = object_in(data)
        found: list[Delta] = []
        # Azure's first event tells of its filters alone, and has neither id nor model yet.
        if not self._has_begun and (event.get("id") or event.get("choices")):
            self._has_begun = True
            found.append(Began(str(event.get("id") or ""), str(event.get("model") or "")))
        for choice in event.get("choices") or ():
            if not isinstance(choice, dict):
                continue
            number = _number(choice)
            delta = choice.get("delta")
            found.extend(self._said(delta if isinstance(delta, dict) else {}, choice, number))
            if choice.get("finish_reason") in FAILED:
                self._failed = gave_up(choice["finish_reason"], choice)
            self._endings[number] = choice.get("finish_reason") or self._endings.get(number)
            self.finish_reason = self._endings[number] or self.finish_reason
        return found

    def _end(self, number: int, *, is_last: bool) -> Ended:
        finish = finish_of(_finish(self._endings[number]), has_called=number in self._calls_begun)
        return Ended(finish, choice=number, is_last=is_last)

    def _said(self, delta: Mapping[str, Any], choice: Mapping[str, Any], number: int) -> list[Delta]:
        found: list[Delta] = []
        for name in _THOUGHTS:
            if delta.get(name) and isinstance(delta[name], str):
                found.append(ThinkingDelta(delta[name], choice=number))
                break
        likely = logprobs_in(choice, "content")
        for is_thought, words in _said_in(delta.get("content") or _spoken_in(delta)):
            if is_thought:
                found.append(ThinkingDelta(words, choice=number))
            else:
                found.append(TextDelta(words, number, likely))
                likely, self._has_said = (), True
        if likely:
            found.append(TextDelta("", number, likely))  # tokens of a character that is not whole yet
        likely = logprobs_in(choice, "refusal")
        refusal = _refusal_in(delta)
        if refusal or likely:
            found.append(RefusalDelta(refusal, number, likely))
            self._has_said = True
        for place, call in enumerate(delta.get("tool_calls") or ()):
            found += self._called(call, place, number)
        return found

    def _called(self, call: Mapping[str, Any], place: int, number: int) -> Iterator[Delta]:
        """What choice `number` says of a tool call that stands at `place` among those of its event."""
        function = call.get("function") or {}
        name, call_id = str(function.get("name") or ""), str(call.get("id") or "")
        # Kimi may leave the index out, and Ollama has numbered every call 0. A name and another id is another call; an
        # id alone is none, since Kimi may change it on the way.
        position = (number, int(call["index"]) if call.get("index") is not None else place)
        known = self._calls.get(position)
        if known is None or (name and call_id and call_id != known[1]):
            begun = self._calls_begun.get(number, 0)
            known = self._calls[position] = (begun, call_id)
            self._calls_begun[number] = begun + 1
            yield ToolCallBegan(begun, call_id or f"call_{begun}", name, choice=number)
        if function.get("arguments"):
            self._arguments.setdefault((number, known[0]), []).append(str(function["arguments"]))
            yield ToolCallDelta(known[0], str(function["arguments"]), number)

    def _take_usage(self, answer: Mapping[str, Any]) -> None:
        self.response_id = answer.get("id") or self.response_id
        self.note_tier(answer.get("service_tier"))
        usage = _usage_in(answer)
        if usage is not None:
            self.note_told_cost(usage)
            if usage.get("num_sources_used"):
                self.note_not_priced("num_sources_used")  # xAI's search, priced by the source
            self.usage_so_far = self.usage or self.usage_so_far
            self.usage = self.usage_in(TokenUsage.from_openai, usage)

    def _raise_if_failed(self) -> None:
        choices = list(objects_among(self._answer["choices"]))
        failed = next((each for each in choices if each.get("finish_reason") in FAILED), None)
        if failed is None or (self._is_native and not failed.get("error")):
            return
        messages = objects_among([each.get("message") for each in choices])
        if not any(_is_said(block) for message in messages for block in _blocks(message)):
            raise gave_up(failed["finish_reason"], failed)

    def _raise_for_error(self, data: bytes) -> None:
        try:
            event = object_in(data)
        except UpstreamError:
            return  # Not JSON at all: handed on as it came.
        if event.get("error"):
            self._take_usage(event)  # OpenRouter says with the error what the broken answer costs all the same
        raise_for_error(event)


def _raise_unless_said(answer: Mapping[str, Any]) -> None:
    raise_unless_list(answer, "choices")
    first = next(iter(answer["choices"]), None)
    if not isinstance(first, dict):
        raise UpstreamError("the vendor's answer has no choices")
    if not isinstance(first.get("message"), dict):
        raise UpstreamError("the vendor's answer has no message")


def _usage_in(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Where Groq and Moonshot are not asked for usage in OpenAI's way, they say it in these places."""
    for holder in (event, *(event.get("choices") or ()), event.get("x_groq")):
        if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
            found: dict[str, Any] = holder["usage"]
            return found
    return None


def _said_in(content: Any) -> Iterator[tuple[bool, str]]:
    """The words of a message's content, each with whether it is a thought: Mistral's thoughts are parts of it."""
    if isinstance(content, str):
        if content:
            yield False, content
        return
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        is_thought = part.get("type") == "thinking"
        said = part.get("thinking" if is_thought else "text")
        words = said if isinstance(said, str) else "".join(words for _, words in _said_in(said))
        if words:
            yield is_thought, words


def _spoken_in(said: Mapping[str, Any]) -> Any:
    """The words of what a message, or a piece of one, says aloud."""
    audio = said.get("audio")
    return audio.get("transcript") if isinstance(audio, dict) else None


def _refusal_in(said: Mapping[str, Any]) -> str:
    """What a message, or a piece of one, says as a refusal: beside its content, or in parts of it. "" for none."""
    if said.get("refusal"):
        return str(said["refusal"])
    content = said.get("content")
    parts = content if isinstance(content, list) else ()
    return "".join(str(part.get("refusal") or "") for part in parts if isinstance(part, dict))


def _is_said(block: Block) -> bool:
    return isinstance(block, Text | Refusal) or (isinstance(block, ToolCall) and is_whole_call(block.arguments))


def _finish(word: Any) -> Finish:
    return "length" if word in FAILED else _FINISHES.get(str(word), "stop")


def _number(choice: Mapping[str, Any]) -> int:
    """Which of several choices it is; some vendors do not number a single one."""
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _choice(choice: Mapping[str, Any]) -> Choice:
    blocks = tuple(_blocks(choice["message"]))
    has_called = any(isinstance(block, ToolCall) for block in blocks)
    return Choice(
        blocks,
        finish_of(_finish(choice.get("finish_reason")), has_called=has_called),
        (*logprobs_in(choice, "content"), *logprobs_in(choice, "refusal")),
    )


def _blocks(message: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    for name in _THOUGHTS:
        if message.get(name) and isinstance(message[name], str):
            blocks.append(Thinking(message[name]))
            break
    blocks += [Thinking(words) if is_thought else Text(words)
               for is_thought, words in _said_in(message.get("content") or _spoken_in(message))]  # fmt: skip
    if refusal := _refusal_in(message):
        blocks.append(Refusal(refusal))
    for position, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        arguments = str(function.get("arguments") or "{}")
        blocks.append(ToolCall(str(call.get("id") or f"call_{position}"), str(function.get("name") or ""), arguments))
    return blocks
