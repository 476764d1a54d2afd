"""From tokens to money, in integers. Rules and worked tables: docs/pricing.md (its tables run as tests)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routing.errors import ImpossibleUsage
from spendhub.money import TOKENS_PER_MTOK, round_nano_usd

MAX_TOKENS = 1_000_000_000
WHOLE_DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one call, each counted in one place only.

    `input_tokens` is plain input, without cache reads and writes; `output_tokens` is all output and
    `reasoning_tokens` the part of it that was thinking. Build it with `from_totals`, `from_openai`,
    `from_anthropic`, `from_gemini` or `checked`: they refuse impossible counts.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0

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
        return cls(total - cached, output, read, write, write_1h, reasoning)

    @classmethod
    def from_openai(cls, usage: Mapping[str, Any]) -> TokenUsage:
        """Usage from the `usage` object of a chat completion, response or embedding. Raises ImpossibleUsage.

        `cached_tokens` and `cache_write_tokens` are inside the prompt count, `reasoning_tokens` inside the
        completion count. Some compatible vendors (xAI, Gemini) leave thinking out of the completion count
        and show it in the total alone: what the total has beyond prompt and completion was output.
        """
        prompt_details = _details(usage, "prompt_tokens_details", "input_tokens_details")
        completion_details = _details(usage, "completion_tokens_details", "output_tokens_details")
        prompt = _count("prompt_tokens", usage.get("prompt_tokens", usage.get("input_tokens")))
        completion = _count("completion_tokens", usage.get("completion_tokens", usage.get("output_tokens")))
        reasoning = _count("reasoning_tokens", completion_details.get("reasoning_tokens"))
        total = usage.get("total_tokens")
        if total is None and reasoning > completion:
            total = prompt + completion + reasoning
        beside = max(_count("total_tokens", total) - prompt - completion, 0)
        return cls.from_totals(
            input_tokens=prompt,
            output_tokens=completion + beside,
            # DeepSeek says the same in a word of its own.
            cache_read_tokens=prompt_details.get("cached_tokens", usage.get("prompt_cache_hit_tokens")),
            cache_write_tokens=prompt_details.get("cache_write_tokens"),
            reasoning_tokens=max(reasoning, beside),
        )

    @classmethod
    def from_anthropic(cls, usage: Mapping[str, Any]) -> TokenUsage:
        """Usage from the `usage` object of a message. Raises ImpossibleUsage.

        `input_tokens` is plain input alone; what went into the cache is one number, and (where the vendor says so)
        how much of it for five minutes and for one hour. Thinking is inside `output_tokens`.
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
        return cls.checked(
            input_tokens=usage.get("input_tokens"),
            output_tokens=usage.get("output_tokens"),
            cache_read_tokens=usage.get("cache_read_input_tokens"),
            cache_write_tokens=write,
            cache_write_1h_tokens=write_1h,
            reasoning_tokens=_details(usage, "output_tokens_details").get("thinking_tokens"),
        )

    @classmethod
    def from_gemini(cls, usage: Mapping[str, Any]) -> TokenUsage:
        """Usage from the `usageMetadata` of a generateContent answer. Raises ImpossibleUsage.

        Cached tokens are inside the prompt count; thoughts and what Google's own tools read are beside it. What the
        total has beyond all of them was output that no other count names: thoughts, as in `from_openai`.
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
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """nano_usd per million tokens of each kind, once input is larger than `above_tokens`.

    None means that the kind has no rate of its own: see `price_usage` for what it then costs.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    above_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CompiledPrice:
    """One price in force: when it holds, and its rates, the largest context first."""

    tiers: tuple[Rates, ...]
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    daily_from_minute: int = 0
    daily_until_minute: int = WHOLE_DAY_MINUTES

    def holds_at(self, moment: datetime) -> bool:
        """Whether it is in force at `moment` (aware UTC)."""
        if self.valid_from is not None and moment < self.valid_from:
            return False
        if self.valid_until is not None and moment >= self.valid_until:
            return False
        if self.daily_until_minute - self.daily_from_minute >= WHOLE_DAY_MINUTES:
            return True
        return self.daily_from_minute <= moment.hour * 60 + moment.minute < self.daily_until_minute

    def rates_for(self, total_input_tokens: int) -> Rates:
        """The rates of the highest tier that `total_input_tokens` is above; they hold for the whole call."""
        for rates in self.tiers:
            if total_input_tokens > rates.above_tokens:
                return rates
        return self.tiers[-1]


@dataclass(frozen=True, slots=True)
class PriceTable:
    """All prices of one model, in the order in which they are asked: the first that holds is the price."""

    prices: tuple[CompiledPrice, ...] = ()

    def at(self, moment: datetime) -> CompiledPrice | None:
        """The price in force at `moment` (aware UTC), None when there is none."""
        for price in self.prices:
            if price.holds_at(moment):
                return price
        return None


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    """What a call cost, and each kind's part of it; the parts add up to the total exactly. nano_usd."""

    total_nano_usd: int
    input_nano_usd: int
    cache_read_nano_usd: int
    cache_write_nano_usd: int
    output_nano_usd: int
    reasoning_nano_usd: int

    def by_kind(self) -> dict[str, int]:
        """Parts that are not 0, for the span's `breakdown`."""
        parts = {
            "input": self.input_nano_usd,
            "cache_read": self.cache_read_nano_usd,
            "cache_write": self.cache_write_nano_usd,
            "output": self.output_nano_usd,
            "reasoning": self.reasoning_nano_usd,
        }
        return {kind: nano_usd for kind, nano_usd in parts.items() if nano_usd}


def flat_price(input_nano_usd_per_mtok: int, output_nano_usd_per_mtok: int) -> CompiledPrice:
    """A price with two rates that always holds, e.g. the default for unpriced models."""
    return CompiledPrice((Rates(input_nano_usd_per_mtok, output_nano_usd_per_mtok),))


def price_usage(usage: TokenUsage, price: CompiledPrice) -> CostBreakdown:
    """Cost of one call in nano_usd.

    Each kind of token is priced apart (tokens x nano_usd per million); cached input is not plain
    input as well, and reasoning not plain output. The exact sum is rounded once, by
    `money.round_nano_usd`; a part is the difference of two rounded running sums, so parts add up.
    Source: docs/pricing.md, "From tokens to money".
    """
    rates = price.rates_for(usage.total_input_tokens)
    read_rate = rates.input if rates.cache_read is None else rates.cache_read
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    write_1h_rate = write_rate if rates.cache_write_1h is None else rates.cache_write_1h
    reasoning_rate = rates.output if rates.reasoning is None else rates.reasoning
    exact = usage.input_tokens * rates.input
    plain = round_nano_usd(exact, TOKENS_PER_MTOK)
    exact += usage.cache_read_tokens * read_rate
    with_reads = round_nano_usd(exact, TOKENS_PER_MTOK)
    exact += usage.cache_write_tokens * write_rate + usage.cache_write_1h_tokens * write_1h_rate
    with_writes = round_nano_usd(exact, TOKENS_PER_MTOK)
    exact += (usage.output_tokens - usage.reasoning_tokens) * rates.output
    with_output = round_nano_usd(exact, TOKENS_PER_MTOK)
    exact += usage.reasoning_tokens * reasoning_rate
    total = round_nano_usd(exact, TOKENS_PER_MTOK)
    return CostBreakdown(
        total, plain, with_reads - plain, with_writes - with_reads, with_output - with_writes, total - with_output
    )


def estimate_nano_usd(price: CompiledPrice, input_tokens: int, max_output_tokens: int) -> int:
    """The most that a call of this size can cost, in nano_usd: what has to be held for it.

    Input counts at the dearer of plain input and cache write, output at the dearer of output and
    reasoning. One-hour cache writes are dearer still; whoever lets a client ask for them adds that.
    Source: docs/pricing.md, "What is held before the call".
    """
    rates = price.rates_for(input_tokens)
    input_rate = max(rates.input, rates.cache_write or 0)
    output_rate = max(rates.output, rates.reasoning or 0)
    # Rounded up: a hold may not be a fraction of a nano-dollar too small.
    return -(-(input_tokens * input_rate + max_output_tokens * output_rate) // TOKENS_PER_MTOK)


def _count(name: str, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise ImpossibleUsage(f"{name}: {str(value)[:40]!r} is not a whole number of tokens", field=name)
    if not 0 <= value <= MAX_TOKENS:
        raise ImpossibleUsage(f"{name}: {str(value)[:40]} is not between 0 and {MAX_TOKENS}", field=name)
    return value


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
