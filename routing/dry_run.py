"""What would become of a call: which models were looked at, what each would cost, who fell out, who won, and why.

Nothing is held, sent or recorded; hooks do not run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from routing.candidates import Candidate
from routing.conversation import NotTranslatable
from routing.errors import NoModelFits
from routing.extras import estimate_asked, price_asked
from routing.model_facts import ModelFacts
from routing.pasted_requests import ReadRequest
from routing.performance import observed_at
from routing.plans import FALLBACK_CONFIDENCE, Plan, choose
from routing.requirements import FellOut, Hurdle, Option
from routing.snapshot import Catalog
from routing.standing import check_can_be_asked
from routing.strategies.base import Ranked, Ranking
from routing.upstreams.registry import passes_untouched
from spendhub.errors import Invalid

# So many values of requests (ReadRequest.size) are said to models in one dry run: about a second's work. Until one of
# those that the call comes to can be told, several times as many, for the answer hangs on it.
MOST_VALUES = 240_000
MOST_VALUES_TO_THE_FIRST = 4 * MOST_VALUES
# What passes as it is takes so many times less than what is translated.
CHEAPER_UNTOUCHED = 16

WON, FALLBACK, CHEAPER, RANKED = "chosen", "fallback", "cheaper", "ranked"


@dataclass(frozen=True, slots=True)
class Line:
    """One model that can do the call. `role`: chosen, fallback (tried next), cheaper (where no budget has room), or
    merely ranked."""

    option: Option
    role: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """`plan` has its candidates as a call comes to them: without those to which the request cannot be said, which are
    among `fell_out`. It is None where nothing fits, or can be told the request; `error` then says why. `measure` is
    what the scores are in."""

    lines: tuple[Line, ...]
    fell_out: tuple[FellOut, ...]
    plan: Plan | None = None
    measure: str = ""
    error: NoModelFits | NotTranslatable | None = None


def dry_run(catalog: Catalog, read: ReadRequest) -> DryRun:
    """The choice for one call, explained.

    Raises what `make_plan` raises, except NoModelFits, which is an answer; what a call of a named model is refused with
    before anything is sent: DialectNotSpoken, CredentialMissing, NotTranslatable; and Invalid for what nobody could
    understand where the request would have to be said in other words. Of a route, NotTranslatable is an answer too."""
    try:
        choice = choose(catalog, read.wanted)
    except NoModelFits as error:
        return DryRun((), tuple(FellOut(model, reason) for model, reason in error.fell_out), error=error)
    plan, ranking = choice.plan, choice.ranking
    if ranking is None:
        model = plan.candidates[0].model
        check_can_be_asked(model)  # a route never chooses one that cannot
        read.check_can_be_said(model)
        return _explained(plan, None, read)
    unsaid = _unsaid(plan, ranking, read)
    if any(candidate.model.name not in unsaid for candidate in _in_turn(plan)):
        return _explained(_as_asked(plan, unsaid), ranking, read, unsaid)
    return _planned_without_translation(catalog, plan, ranking, read, unsaid)


def _in_turn(plan: Plan) -> tuple[Candidate, ...]:
    """Whom a call comes to, as long as nothing has been sent: the cheaper ones too."""
    return (*plan.candidates, *plan.cheaper)


def _unsaid(plan: Plan, ranking: Ranking, read: ReadRequest) -> dict[str, Invalid]:
    """Why models cannot be told the request, by name: those of the plan, and then of the ranking, as far as the bounds
    above go. What is not looked at any more is taken for one that can.

    Raises the Invalid with which a call would end before it came to one that can."""
    found: dict[str, Invalid] = {}
    said = 0
    is_first_found = False
    for model, is_planned in _with_whether_planned(plan, ranking):
        if said >= (MOST_VALUES_TO_THE_FIRST if is_planned and not is_first_found else MOST_VALUES):
            break
        said += _effort(model, read)
        error = _refusal(model, read)
        if error is None:
            is_first_found = is_first_found or is_planned
        elif is_first_found or not is_planned or isinstance(error, NotTranslatable):
            found[model.name] = error
        else:
            raise error
    return found


def _with_whether_planned(plan: Plan, ranking: Ranking) -> Iterator[tuple[ModelFacts, bool]]:
    planned = [candidate.model for candidate in _in_turn(plan)]
    yield from ((model, True) for model in planned)
    names = {model.name for model in planned}
    yield from ((each.option.model, False) for each in ranking.ranked if each.option.name not in names)


def _effort(model: ModelFacts, read: ReadRequest) -> int:
    return read.size // CHEAPER_UNTOUCHED if passes_untouched(model, read.wanted.wire) else read.size


def _refusal(model: ModelFacts, read: ReadRequest) -> Invalid | None:
    try:
        read.check_can_be_said(model)
    except Invalid as error:
        return error
    return None


def _as_asked(plan: Plan, unsaid: Mapping[str, Invalid]) -> Plan:
    """`plan` as its call comes to it, where some of its models can be told the request and others cannot."""
    first = plan.candidates[0].model.name
    candidates, cheaper = _said(plan.candidates, unsaid), _said(plan.cheaper, unsaid)
    stands_in = "a fallback" if candidates else "a cheaper one"
    if not candidates:
        candidates, cheaper = cheaper[:1], cheaper[1:]
    plan = replace(plan, candidates=candidates, cheaper=cheaper, fell_out=(*_fell_out(unsaid), *plan.fell_out))
    if first not in unsaid:
        return plan
    why = f"{stands_in}, since {_reason(unsaid[first], first)}"
    return replace(plan, reason=why, confidence=FALLBACK_CONFIDENCE)


def _said(candidates: Iterable[Candidate], unsaid: Mapping[str, Invalid]) -> tuple[Candidate, ...]:
    return tuple(candidate for candidate in candidates if candidate.model.name not in unsaid)


def _planned_without_translation(
    catalog: Catalog, plan: Plan, ranking: Ranking, read: ReadRequest, unsaid: Mapping[str, Invalid]
) -> DryRun:
    """As a call is planned once more that can be said to no model of its plan (docs/decisions/0058)."""
    error = next(each for each in unsaid.values() if isinstance(each, NotTranslatable))
    late = (
        f"it is of another dialect: where {error.field} cannot be said to the first ones, only models that take the "
        "request as it is are tried"
    )
    others = (each.option.name for each in ranking.ranked if each.option.name not in unsaid)
    fell_out = (*_fell_out(unsaid), *(FellOut(name, late, Hurdle.WORDS) for name in others))
    try:
        again = choose(catalog, replace(read.wanted, untranslatable=error.field))
    except NoModelFits:
        return DryRun((), (*fell_out, *plan.fell_out), error=error)
    for_words = {each.model: each for each in fell_out}
    told = (for_words.get(each.model, each) if each.hurdle is Hurdle.WORDS else each for each in again.plan.fell_out)
    return _explained(replace(again.plan, fell_out=tuple(told)), again.ranking, read)


def _fell_out(unsaid: Mapping[str, Invalid]) -> tuple[FellOut, ...]:
    return tuple(FellOut(name, _reason(error, "it"), Hurdle.WORDS) for name, error in unsaid.items())


def _reason(error: Invalid, model: str) -> str:
    return f"{error.field} cannot be said to {model}" if isinstance(error, NotTranslatable) else error.message


def _explained(plan: Plan, ranking: Ranking | None, read: ReadRequest, unsaid: Collection[str] = ()) -> DryRun:
    ranked = {each.option.name: each for each in ranking.ranked} if ranking is not None else {}
    roles = {candidate.model.name: CHEAPER for candidate in plan.cheaper}
    roles |= {candidate.model.name: FALLBACK for candidate in plan.candidates}
    roles[plan.candidates[0].model.name] = WON
    others = (Candidate.of(each.option) for name, each in ranked.items() if name not in roles and name not in unsaid)
    lines = [
        _line(candidate, roles.get(candidate.model.name, RANKED), ranked.get(candidate.model.name), read)
        for candidate in (*plan.candidates, *plan.cheaper, *others)
    ]
    return DryRun(tuple(lines), plan.fell_out, plan, ranking.measure if ranking is not None else "")


def _line(candidate: Candidate, role: str, ranked: Ranked | None, read: ReadRequest) -> Line:
    model, quote, wanted = candidate.model, candidate.quote, read.wanted
    score = None if ranked is None else ranked.score
    extras = read.extras_at(model)
    if ranked is not None and extras is wanted.extras:
        return Line(ranked.option, role, score)  # with the estimate by which it was compared
    price = price_asked(extras, model, quote.price, wanted.now)
    estimate = estimate_asked(extras, price, wanted.input_tokens_at(model), wanted.output_tokens_of(model))
    observed = observed_at(model, wanted.tenant_id)
    return Line(Option(model, quote.price, estimate, observed, quote.is_estimated), role, score)
