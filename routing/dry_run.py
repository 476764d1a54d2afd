"""What would become of a call: which models were looked at, what each would cost, who fell out, who won, and why.

Nothing is held, sent or recorded; hooks do not run.
"""

from __future__ import annotations

from dataclasses import dataclass

from routing.candidates import Candidate
from routing.errors import NoModelFits
from routing.extras import estimate_asked, price_asked
from routing.pasted_requests import ReadRequest
from routing.performance import observed_at
from routing.plans import FellOut, Plan, choose
from routing.requirements import Option
from routing.snapshot import Catalog
from routing.standing import check_can_be_asked
from routing.strategies.base import Ranked

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
    """`plan` is None where nothing fits; `error` then says why. `measure` is what the scores are in."""

    lines: tuple[Line, ...]
    fell_out: tuple[FellOut, ...]
    plan: Plan | None = None
    measure: str = ""
    error: NoModelFits | None = None


def dry_run(catalog: Catalog, read: ReadRequest) -> DryRun:
    """The choice for one call, explained.

    Raises what `make_plan` raises, except NoModelFits, which is an answer; and what a call of a named model is refused
    with before anything is sent: DialectNotSpoken, CredentialMissing."""
    try:
        choice = choose(catalog, read.wanted)
    except NoModelFits as error:
        return DryRun((), tuple(FellOut(model, reason) for model, reason in error.fell_out), error=error)
    plan, ranking = choice.plan, choice.ranking
    if ranking is None:
        check_can_be_asked(plan.candidates[0].model)  # a route never chooses one that cannot
    ranked = {each.option.name: each for each in ranking.ranked} if ranking is not None else {}
    roles = {candidate.model.name: CHEAPER for candidate in plan.cheaper}
    roles |= {candidate.model.name: FALLBACK for candidate in plan.candidates}
    roles[plan.candidates[0].model.name] = WON
    others = (Candidate(each.option.model, each.option.quote) for name, each in ranked.items() if name not in roles)
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
    estimate = estimate_asked(extras, price, wanted.input_tokens, wanted.output_tokens_of(model))
    observed = observed_at(model, wanted.tenant_id)
    return Line(Option(model, quote.price, estimate, observed, quote.is_estimated), role, score)
