"""What a call used: tokens of each kind, as each vendor counts them, brought into one convention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from routing.errors import ImpossibleUsage

MAX_TOKENS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one call, each counted in one place only, and the searches of the web that its vendor made for it.

    `input_tokens` is plain input, without cache reads and writes; `output_tokens` is all output and
    `reasoning_tokens` the part of it that was thinking. `cache_write_1h_tokens` is what was written for the longer
    of the times that the vendor offers. Build it with `from_totals`, `from_openai`,
    `from_anthropic`, `from_gemini` or `checked`: they refuse impossible counts.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    web_searches: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def total_input_tokens(self) -> int:
        """Everything that was read: plain, from the cache and into it. Decides the context tier."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        """All input and all output."""
        return self.total_input_tokens + self.output_tokens

    @classmethod
    def checked(cls, **counts: Any) -> TokenUsage:
        """Usage from counts that are disjoint already. Raises ImpossibleUsage."""
        usage = cls(**{name: _count(name, value) for name, value in counts.items()})
        if usage.reasoning_tokens > usage.output_tokens:
            raise _part_above_whole("reasoning_tokens", usage.reasoning_tokens, "output_tokens", usage.output_tokens)
        return usage

    @classmethod
    def from_totals(
        cls,
        input_tokens: Any = 0,
        output_tokens: Any = 0,
        cache_read_tokens: Any = 0,
        cache_write_tokens: Any = 0,
        reasoning_tokens: Any = 0,
        cache_write_1h_tokens: Any = 0,
        web_searches: Any = 0,
    ) -> TokenUsage:
        """Usage in the convention of OpenTelemetry GenAI: `input_tokens` includes cached tokens.

        The cache counts are parts of `input_tokens` and disjoint from each other; `reasoning_tokens`
        is part of `output_tokens`. None counts as 0. Raises ImpossibleUsage.
        """
        total = _count("input_tokens", input_tokens)
        read = _count("cache_read_tokens", cache_read_tokens)
        write = _count("cache_write_tokens", cache_write_tokens)
        write_1h = _count("cache_write_1h_tokens", cache_write_1h_tokens)
        output = _count("output_tokens", output_tokens)
        reasoning = _count("reasoning_tokens", reasoning_tokens)
        cached = read + write + write_1h
        if cached > total:
            raise _part_above_whole("cached tokens", cached, "input_tokens", total)
        if reasoning > output:
            raise _part_above_whole("reasoning_tokens", reasoning, "output_tokens", output)
        return cls(total - cached, output, read, write, write_1h, reasoning, _count("web_searches", web_searches))

    @classmethod
    def from_openai(cls, usage: Mapping[str, Any], web_searches: int = 0) -> TokenUsage:
        """Usage from the `usage` object of a chat completion, response or embedding. Raises ImpossibleUsage.

        `web_searches` stand elsewhere in the answer. `cached_tokens` and `cache_write_tokens` are inside the prompt
        count, of the latter those for twelve hours told apart; `reasoning_tokens` are inside the completion count.
        Some compatible vendors (xAI, Gemini) leave thinking out of the completion count and show it in the total
        alone: what the total has beyond prompt and completion was output.
        """
        prompt_details = _details(usage, "prompt_tokens_details", "input_tokens_details")
        completion_details = _details(usage, "completion_tokens_details", "output_tokens_details")
        prompt = _count("prompt_tokens", usage.get("prompt_tokens", usage.get("input_tokens")))
        completion = _count("completion_tokens", usage.get("completion_tokens", usage.get("output_tokens")))
        # SGLang, and so StreamLake, says it beside the counts.
        thought = completion_details.get("reasoning_tokens", usage.get("reasoning_tokens"))
        reasoning = _count("reasoning_tokens", thought)
        total = usage.get("total_tokens")
        if total is None and reasoning > completion:
            total = prompt + completion + reasoning
        beside = max(_count("total_tokens", total) - prompt - completion, 0)
        written = _count("cache_write_tokens", prompt_details.get("cache_write_tokens"))
        written_12h = _count(
            "ttl_12h_tokens", _details(prompt_details, "cache_write_tokens_details").get("ttl_12h_tokens")
        )
        if written_12h > written:
            raise _part_above_whole("ttl_12h_tokens", written_12h, "cache_write_tokens", written)
        return cls.from_totals(
            input_tokens=prompt,
            output_tokens=completion + beside,
            cache_read_tokens=_first_said(
                prompt_details.get("cached_tokens"),
                usage.get("prompt_cache_hit_tokens"),  # DeepSeek
                usage.get("cached_tokens"),  # Moonshot
            ),
            cache_write_tokens=written - written_12h,
            # OpenRouter counts thoughts with its own tokenizer, at times to a few more than all output that is billed.
            reasoning_tokens=min(max(reasoning, beside), completion + beside),
            cache_write_1h_tokens=written_12h,
            web_searches=web_searches,
        )

    @classmethod
    def from_anthropic(cls, usage: Mapping[str, Any]) -> TokenUsage:
        """Usage from the `usage` object of a message. Raises ImpossibleUsage.

        `input_tokens` is plain input alone; what went into the cache is one number, and (where the vendor says so)
        how much of it for five minutes and for one hour. Thinking is inside `output_tokens`. Where Anthropic first sums
        up a context that has grown long ("compaction"), the same model's tokens for that are in `iterations` alone.
        """
        split = _details(usage, "cache_creation")
        write_1h = _count("ephemeral_1h_input_tokens", split.get("ephemeral_1h_input_tokens"))
        write = _count("ephemeral_5m_input_tokens", split.get("ephemeral_5m_input_tokens"))
        written = usage.get("cache_creation_input_tokens")
        if written is not None:
            total = _count("cache_creation_input_tokens", written)
            if write_1h > total:
                raise _part_above_whole("ephemeral_1h_input_tokens", write_1h, "cache_creation_input_tokens", total)
            write = total - write_1h
        own = cls.checked(
            input_tokens=usage.get("input_tokens"),
            output_tokens=usage.get("output_tokens"),
            cache_read_tokens=usage.get("cache_read_input_tokens"),
            cache_write_tokens=write,
            cache_write_1h_tokens=write_1h,
            reasoning_tokens=_details(usage, "output_tokens_details").get("thinking_tokens"),
            web_searches=_details(usage, "server_tool_use").get("web_search_requests"),
        )
        parts = usage.get("iterations")
        compactions = [
            cls.from_anthropic({**part, "iterations": None})
            for part in (parts if isinstance(parts, list) else ())
            if isinstance(part, Mapping) and part.get("type") == "compaction"
        ]
        return sum(compactions, own)

    @classmethod
    def from_gemini(cls, usage: Mapping[str, Any], web_searches: int = 0) -> TokenUsage:
        """Usage from the `usageMetadata` of a generateContent answer. Raises ImpossibleUsage.

        `web_searches` stand elsewhere in the answer. Cached tokens are inside the prompt count; thoughts and
        what Google's own tools read are beside it. What the total has beyond all of them was output that no other
        count names: thoughts, as in `from_openai`.
        """
        prompt = _count("promptTokenCount", usage.get("promptTokenCount"))
        prompt += _count("toolUsePromptTokenCount", usage.get("toolUsePromptTokenCount"))
        said = _count("candidatesTokenCount", usage.get("candidatesTokenCount"))
        thoughts = _count("thoughtsTokenCount", usage.get("thoughtsTokenCount"))
        total = _count("totalTokenCount", usage.get("totalTokenCount"))
        thoughts += max(total - prompt - said - thoughts, 0)
        return cls.from_totals(
            input_tokens=prompt,
            output_tokens=said + thoughts,
            cache_read_tokens=usage.get("cachedContentTokenCount"),
            reasoning_tokens=thoughts,
            web_searches=web_searches,
        )


def _count(name: str, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ImpossibleUsage(f"{name}: {str(value)[:40]!r} is not a whole number of tokens", field=name)
    if not 0 <= value <= MAX_TOKENS:
        raise ImpossibleUsage(f"{name}: {str(value)[:40]} is not between 0 and {MAX_TOKENS}", field=name)
    return value


def _first_said(*counts: Any) -> Any:
    return next((count for count in counts if count is not None), None)


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        found = usage.get(name)
        if isinstance(found, Mapping):
            return found
    return {}


def _part_above_whole(part: str, part_count: int, whole: str, whole_count: int) -> ImpossibleUsage:
    return ImpossibleUsage(
        f"{part} ({part_count}) cannot exceed {whole} ({whole_count}), which includes them",
        field=part.replace(" ", "_"),
    )
