"""Which models may answer a call: the one that was named, or those that a choice is made among."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from routing.errors import ModelNotAvailable, UnknownModel
from routing.model_facts import ModelFacts, Quote
from routing.requirements import FellOut, Option, Requirements, at_like_lengths
from routing.snapshot import Catalog
from routing.standing import standing_of, unusable_because

NO_MODEL_IN_PARTICULAR = "it is a wildcard, which stands for no model in particular"
UNASKED_SEARCH = "it always searches the web, which is billed beside: used where it, or a search, is asked for"


class Candidate(msgspec.Struct, frozen=True):
    """A model that may answer, and the price it would count at."""

    model: ModelFacts
    quote: Quote

    @classmethod
    def of(cls, option: Option) -> Candidate:
        """A model that can do the call, as one that is asked."""
        return cls(option.model, option.quote)


def find_candidates(
    catalog: Catalog, tenant_id: int, name: str, now: datetime, *, unpriced_models: str
) -> list[Candidate]:
    """The model that is called `name`, alone. `unpriced_models` is the tenant's setting for models without a price.

    Raises UnknownModel, ModelNotAvailable or UnpricedModel.
    """
    model = catalog.resolve(tenant_id, name)
    if model is None:
        raise UnknownModel(name)
    reason = model.unavailable_because()
    if reason is not None:
        raise ModelNotAvailable(name, reason)
    return [Candidate(model, catalog.quote(tenant_id, name, now, unpriced_models=unpriced_models))]


def find_options(
    catalog: Catalog, requirements: Requirements, names: Sequence[str], also: Sequence[str] = ()
) -> tuple[list[Option], list[FellOut]]:
    """The models of `names` (none: all of the tenant's) that can do the call, and those that cannot, with the reason.
    Among all of the tenant's those of `also`, which alone are chosen among then, count as named: they need not be such
    as stand for every call.

    Models that could have done another call come first among those that fell out. Estimates are such as compare.
    Where some have room for all that is packed into the request, those without are none (docs/decisions/0066).
    """
    options, fell_out = _find_options(catalog, requirements, names, also)
    short = [option.short_of_room for option in options if option.short_of_room is not None]
    if short and _some_have_room(options, also):
        options = [option for option in options if option.short_of_room is None]
        fell_out = [*short, *fell_out]
    return list(at_like_lengths(options, requirements.wanted)), fell_out


def _some_have_room(options: Sequence[Option], chosen_among: Sequence[str]) -> bool:
    """Whether one that can be chosen has room for all that is packed into the request."""
    return any(option.short_of_room is None for option in options if not chosen_among or option.name in chosen_among)


def _find_options(
    catalog: Catalog, requirements: Requirements, names: Sequence[str], also: Sequence[str]
) -> tuple[list[Option], list[FellOut]]:
    tenant_id = requirements.wanted.tenant_id
    fell_out: list[FellOut] = []
    options: list[Option] = []
    if names:
        for name in names:
            found = find_option(catalog, requirements, name)
            if isinstance(found, FellOut):
                fell_out.append(found)
            elif all(found.name != option.name for option in options):
                options.append(found)
        return options, fell_out
    standing = standing_of(catalog, tenant_id)
    searching = [model for model in standing.searching if requirements.asks_to_search(model)]
    asked = {model.name for model in searching}
    named = {name for name in also if name in standing.by_name_only and name not in asked}
    for name in sorted(named):
        found = find_option(catalog, requirements, name)
        if isinstance(found, FellOut):
            fell_out.append(found)
        else:
            options.append(found)
    for model in (*standing.usable, *searching):
        fit = requirements.fit(model)
        if isinstance(fit, FellOut):
            fell_out.append(fit)
        else:
            options.append(fit)
    unasked = (model.name for model in standing.searching if model.name not in asked)
    set_aside = (*(FellOut(name, UNASKED_SEARCH) for name in unasked), *standing.fell_out)
    fell_out.extend(each for each in set_aside if each.model not in named)
    return options, fell_out


def find_option(catalog: Catalog, requirements: Requirements, name: str) -> Option | FellOut:
    """The model called `name` if it can do the call, else why not."""
    tenant_id = requirements.wanted.tenant_id
    model = catalog.resolve(tenant_id, name)
    if model is None:
        return FellOut(name, "no model is called so")
    if model.is_wildcard:
        return FellOut(model.name, NO_MODEL_IN_PARTICULAR)
    reason = unusable_because(model)
    if reason is not None:
        return FellOut(model.name, reason)
    return requirements.fit(model)
