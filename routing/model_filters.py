"""Which models of the catalog a list shows, and in which order: by what they cost now, hold, and whether they answer.

Prices are a matter of the moment and of who asks, so they are compared here and not in the database; a catalog has some
hundreds of models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import BigIntegerField, Case, QuerySet, Value, When

from routing.compiled_prices import compile_prices
from routing.models import Model
from routing.pricing import CompiledPrice, estimate_nano_usd
from routing.snapshot import CATALOG
from routing.standing import unusable_because
from spendhub.api.queries import InvalidQuery, choice_in, flag_in
from spendhub.errors import InvalidMoney
from spendhub.money import parse_usd

CHEAPEST = "cheapest"
# What is compared for `ordering=cheapest`: an ordinary call.
USUAL_INPUT_TOKENS, USUAL_OUTPUT_TOKENS = 1_000, 500
MOST_NAMES = 100
MAX_NAME = 120
# After everything that has a price, and within what every database holds in a big integer.
_UNPRICED = 2**62


@dataclass(frozen=True, slots=True)
class ModelQuery:
    """What a list of models is asked for beyond the columns of a row. Prices are nano_usd per million tokens."""

    names: tuple[str, ...] = ()
    min_context_tokens: int | None = None
    min_output_tokens: int | None = None
    max_input_price: int | None = None
    max_output_price: int | None = None
    is_usable: bool | None = None
    is_cheapest_first: bool = False

    @classmethod
    def read(cls, query: Mapping[str, str]) -> ModelQuery:
        """The question in an address. Raises InvalidQuery, naming the parameter."""
        return cls(
            _names_in(query),
            _whole_in(query, "min_context_tokens"),
            _whole_in(query, "min_output_tokens"),
            _money_in(query, "max_input_cost"),
            _money_in(query, "max_output_cost"),
            flag_in(query, "usable"),
            choice_in(query, "ordering", ("name", CHEAPEST)) == CHEAPEST,
        )

    def narrow(self, rows: QuerySet[Model], tenant_id: int, now: datetime) -> QuerySet[Model]:
        """`rows` (with the prices that the tenant sees) as asked for; cheapest first, they have a `usual_nano_usd`."""
        if self.names:
            rows = rows.filter(name__in=self.names)
        if self.min_context_tokens is not None:
            rows = rows.filter(context_tokens__gte=self.min_context_tokens)
        if self.min_output_tokens is not None:
            rows = rows.filter(max_output_tokens__gte=self.min_output_tokens)
        if self.is_usable is not None:
            usable = _usable_ids(tenant_id)
            rows = rows.filter(pk__in=usable) if self.is_usable else rows.exclude(pk__in=usable)
        if self.max_input_price is None and self.max_output_price is None and not self.is_cheapest_first:
            return rows
        prices = {row.pk: price_of(row, now) for row in rows}
        if self.max_input_price is not None or self.max_output_price is not None:
            rows = rows.filter(pk__in=[pk for pk, price in prices.items() if self._affords(price)])
        return _with_usual_cost(rows, prices) if self.is_cheapest_first else rows

    def _affords(self, price: CompiledPrice | None) -> bool:
        if price is None:
            return False
        rates = price.rates_for(0)
        return (self.max_input_price is None or rates.input <= self.max_input_price) and (
            self.max_output_price is None or rates.output <= self.max_output_price
        )


def price_of(row: Model, now: datetime) -> CompiledPrice | None:
    """What the model costs at `now` to whoever its `prices` were fetched for: an own price before the shared one."""
    rows = [each for each in row.prices.all() if not each.service_tier] if row.pk else []
    for owned in (True, False):
        price = compile_prices(each for each in rows if (each.tenant_id is not None) == owned).at(now)
        if price is not None:
            return price
    return None


def _with_usual_cost(rows: QuerySet[Model], prices: Mapping[int, CompiledPrice | None]) -> QuerySet[Model]:
    by_cost: dict[int, list[int]] = defaultdict(list)
    for pk, price in prices.items():
        if price is not None:
            by_cost[estimate_nano_usd(price, USUAL_INPUT_TOKENS, USUAL_OUTPUT_TOKENS)].append(pk)
    whens = [When(pk__in=pks, then=Value(cost)) for cost, pks in by_cost.items()]
    cost = Case(*whens, default=Value(_UNPRICED), output_field=BigIntegerField())
    return rows.annotate(usual_nano_usd=cost)


def _usable_ids(tenant_id: int) -> Collection[int]:
    """Models that a call of the tenant could be sent to now; not those that an own model of their name hides."""
    # Refreshed: who has just added a key wants to see what it opens.
    models = CATALOG.refresh().view(tenant_id).models.values()
    return [model.id for model in models if unusable_because(model) is None]


def _names_in(query: Mapping[str, str]) -> tuple[str, ...]:
    if "ids" not in query:
        return ()
    names = tuple(dict.fromkeys(name.strip() for name in query["ids"].split(",")))
    if len(names) > MOST_NAMES or not all(0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
        raise InvalidQuery(f"ids must be 1 to {MOST_NAMES} names of models, separated by commas", field="ids")
    return names


def _whole_in(query: Mapping[str, str], name: str) -> int | None:
    given = query.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise InvalidQuery(f"{name} must be a whole number of tokens, not {given[:40]!r}", field=name)
    return int(given)


def _money_in(query: Mapping[str, str], name: str) -> int | None:
    given = query.get(name)
    if given is None:
        return None
    try:
        return parse_usd(given)
    except InvalidMoney:
        raise InvalidQuery(
            f"{name} must be USD per million tokens such as 2.50, not {given[:40]!r}", field=name
        ) from None
