"""What would become of a call: which models were looked at, what each would cost, who fell out, who won, and why.

Nothing is held, sent or recorded; hooks do not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from routing.conversation import beside_words
from routing.errors import NoModelFits
from routing.performance import observed_of
from routing.plans import FellOut, Plan, Wanted, choose
from routing.pricing import estimate_nano_usd
from routing.requirements import Option
from routing.snapshot import Catalog

WON, FALLBACK, CHEAPER, RANKED = "chosen", "fallback", "cheaper", "ranked"
_PARTS = {
    "image_url": "vision",
    "input_image": "vision",
    "input_audio": "audio",
    "file": "files",
    "input_file": "files",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One model that can do the call. `role`: chosen, fallback (tried next), cheaper (where no budget has room), or
    merely ranked."""

    option: Option
    role: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """`plan` is None where nothing fits; `error` then says why. `measure` is what the scores are in."""

    lines: tuple[Line, ...]
    fell_out: tuple[FellOut, ...]
    plan: Plan | None = None
    measure: str = ""
    error: NoModelFits | None = None


def dry_run(catalog: Catalog, wanted: Wanted) -> DryRun:
    """The choice for one call, explained. Raises what `make_plan` raises, except NoModelFits, which is an answer."""
    try:
        choice = choose(catalog, wanted)
    except NoModelFits as error:
        return DryRun((), tuple(FellOut(model, reason) for model, reason in error.fell_out), error=error)
    plan, ranking = choice.plan, choice.ranking
    scores = {each.option.name: each.score for each in ranking.ranked} if ranking is not None else {}
    roles = {candidate.model.name: CHEAPER for candidate in plan.cheaper}
    roles |= {candidate.model.name: FALLBACK for candidate in plan.candidates}
    roles[plan.candidates[0].model.name] = WON
    tried = [_option(candidate.model.name, candidate, wanted) for candidate in (*plan.candidates, *plan.cheaper)]
    others = [each.option for each in ranking.ranked if each.option.name not in roles] if ranking is not None else []
    lines = [Line(option, roles.get(option.name, RANKED), scores.get(option.name)) for option in (*tried, *others)]
    return DryRun(tuple(lines), plan.fell_out, plan, ranking.measure if ranking is not None else "")


def needs_of_chat(body: Mapping[str, Any]) -> frozenset[str]:
    """What a chat completion's body shows that it needs of a model."""
    found = {"streaming"} if body.get("stream") is True else set()
    if body.get("tools") or body.get("functions"):
        found.add("tools")
    wanted = body.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") in ("json_object", "json_schema"):
        found.add("json")
    if body.get("reasoning_effort") not in (None, "none"):
        found.add("reasoning")
    choices = body.get("n")
    found |= beside_words(choices if isinstance(choices, int) else 1, wants_logprobs=body.get("logprobs") is True)
    found |= {_PARTS[kind] for part in _parts(body) if (kind := str(part.get("type"))) in _PARTS}
    return frozenset(found)


def _option(name: str, candidate: Any, wanted: Wanted) -> Option:
    output = wanted.output_tokens_of(candidate.model)
    estimate = estimate_nano_usd(candidate.quote.price, wanted.input_tokens, output)
    observed = observed_of(name, wanted.tenant_id)
    return Option(candidate.model, candidate.quote.price, estimate, observed, candidate.quote.is_estimated)


def _messages(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    messages = body.get("messages")
    if isinstance(messages, list):
        yield from (message for message in messages if isinstance(message, Mapping))


def _parts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for message in _messages(body):
        content = message.get("content")
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, Mapping))
