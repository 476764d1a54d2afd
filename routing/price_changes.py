"""Writes prices: a new one is a new row, and the row before it ends where it begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from routing.models import CATALOG_SNAPSHOT, Model, Price
from routing.price_specs import PriceSpec
from spendhub.errors import Conflict
from spendhub.money import format_usd
from spendhub.snapshots import bump
from spendhub.tenants.models import Tenant

# How long a form may have been open that says "from now on".
FORM_GRACE = timedelta(hours=1)


class PriceInThePast(Conflict):
    """A price would replace another one for a time that is over."""

    code = "price_in_the_past"

    def __init__(self, begins: datetime) -> None:
        super().__init__(
            f"another price already holds from {begins.isoformat()} on; prices of the past are not rewritten, "
            "so let the new one begin now or later"
        )


def set_price(model: Model, spec: PriceSpec, *, tenant: Tenant | None, now: datetime) -> Price:
    """Gives `model` the price `spec` from `spec.valid_from` on, as set by an admin of `tenant` (None: for all).

    A price in the same slot that would still hold then is closed at that moment; nothing recorded
    changes. A price that begins at the very same moment is replaced when it has not begun yet. Raises
    PriceInThePast when the new one would take the place of another for a time that is over; within
    the last hour it begins `now` instead.
    """
    with transaction.atomic():
        _lock(model)
        rows = _rows_in_slot(model, spec, tenant)
        begins = spec.valid_from
        if rewrites_past(model, spec, tenant=tenant, now=now):
            if now - begins > FORM_GRACE:
                raise PriceInThePast(begins)
            begins = now
        for row in rows.filter(valid_from=begins):
            # It has not begun: nothing was ever counted with it.
            row.delete()
        for row in rows.filter(valid_from__lt=begins):
            if row.valid_until is None or row.valid_until > begins:
                row.valid_until = begins
                row.save(update_fields=["valid_until"])
        following = rows.filter(valid_from__gt=begins).order_by("valid_from").first()
        ends = spec.valid_until
        if following is not None and (ends is None or ends > following.valid_from):
            ends = following.valid_from
        price = _row(model, spec, begins, ends, now.date())
        price.stated_until = spec.valid_until
        price.tenant = tenant
        price.is_custom = True
        price.save()
    return price


def rewrites_past(model: Model, spec: PriceSpec, *, tenant: Tenant | None, now: datetime) -> bool:
    """Whether `spec` would take the place of another price for a time that is over."""
    others = _rows_in_slot(model, spec, tenant).exclude(valid_until__lte=spec.valid_from).filter(valid_from__lt=now)
    return spec.valid_from < now and others.exists()


def _rows_in_slot(model: Model, slot: PriceSpec | Price, tenant: Tenant | None) -> QuerySet[Price]:
    return Price.objects.across_tenants().filter(
        tenant=tenant,
        model=model,
        service_tier=slot.service_tier,
        min_context_tokens=slot.min_context_tokens,
        daily_from_minute=slot.daily_from_minute,
    )


def end_price(price: Price, now: datetime) -> None:
    """Ends a price at `now`; what was counted with it stands. One that has not begun yet is removed, and the
    price that it ended holds on: until the next one, or until where it was to end by itself, or for good."""
    with transaction.atomic():
        _lock(price.model)
        if price.valid_from > now:
            _hold_on_without(price)
            price.delete()
        elif price.valid_until is None or price.valid_until > now:
            _end(price, now)
            price.save(update_fields=["valid_until", "stated_until"])


def _lock(model: Model) -> None:
    # The prices of a model end each other: of two that are set or taken back at once, the second sees what the first
    # has made of the others.
    Model.objects.across_tenants().select_for_update(no_key=True).get(pk=model.pk)


def _end(price: Price, moment: datetime) -> None:
    price.valid_until = price.stated_until = moment


def _hold_on_without(price: Price) -> None:
    rows = _rows_in_slot(price.model, price, price.tenant)
    following = rows.filter(valid_from__gt=price.valid_from).order_by("valid_from").first()
    for row in rows.filter(valid_until=price.valid_from):
        ends = [row.stated_until, None if following is None else following.valid_from]
        row.valid_until = min((moment for moment in ends if moment is not None), default=None)
        row.save(update_fields=["valid_until"])


def refresh_prices(wanted: Mapping[Model, Sequence[PriceSpec]], checked_on: date, now: datetime) -> list[str]:
    """Brings the shared prices of models up to a catalog's; returns one line per change.

    A model without prices takes the whole history. Later, only what holds now or will hold is
    compared: a difference closes the row and opens a new one. A model with a price that an admin has
    set and that still holds is left alone.
    """
    rows_of: dict[int, list[Price]] = {}
    for row in Price.objects.across_tenants().filter(tenant=None):
        rows_of.setdefault(row.model_id, []).append(row)
    opened: list[Price] = []
    closed: dict[int, Price] = {}
    lines: list[str] = []
    for model, specs in wanted.items():
        rows = rows_of.get(model.pk, [])
        if not rows:
            opened += [_row(model, spec, spec.valid_from, spec.valid_until, checked_on) for spec in specs]
            if specs:
                lines.append(f"+ price {model.name}: {_shown(_newest(specs))}")
        elif specs and not any(row.is_custom and _holds_after(row, now) for row in rows):
            for line, ended, replacement in _differences(model, rows, specs, checked_on, now):
                lines.append(line)
                if ended is not None:
                    closed[ended.pk] = ended
                if replacement is not None:
                    opened.append(replacement)
    starts = {(model.pk, spec.slot, spec.valid_from) for model, specs in wanted.items() for spec in specs}
    for price in (*opened, *closed.values()):
        # A catalog says of a price that it ends where the next one begins: the next one ends it.
        if (price.model_id, _slot(price), price.valid_until) in starts:
            price.stated_until = None
    Price.objects.across_tenants().bulk_update(closed.values(), ["valid_until", "stated_until"], batch_size=200)
    Price.objects.across_tenants().bulk_create(opened, batch_size=200)
    if lines:
        bump(CATALOG_SNAPSHOT)
    return lines


def _differences(
    model: Model, rows: Sequence[Price], specs: Sequence[PriceSpec], checked_on: date, now: datetime
) -> Iterator[tuple[str, Price | None, Price | None]]:
    live_specs = [spec for spec in specs if spec.valid_until is None or spec.valid_until > now]
    slots = {spec.slot for spec in live_specs}
    for row in rows:
        if _holds_after(row, now) and _slot(row) not in slots:
            _end(row, now)
            yield f"- price {model.name}: {_shown(_spec(row))}", row, None
    for spec in sorted(live_specs, key=lambda spec: spec.valid_from):
        moment = max(spec.valid_from, now)
        current = next((row for row in rows if _slot(row) == spec.slot and _holds_at(row, moment)), None)
        if current is not None and _spec(current).rates == spec.rates:
            if current.valid_until is None and spec.valid_until is not None:
                _end(current, spec.valid_until)
                yield f"~ price {model.name}: {_shown(spec)} ends {spec.valid_until:%Y-%m-%d}", current, None
            continue
        begins = spec.valid_from
        if current is None:
            taken = any(_slot(row) == spec.slot and row.valid_from == begins for row in rows)
            yield (
                f"+ price {model.name}: {_shown(spec)}",
                None,
                _row(model, spec, now if taken else begins, spec.valid_until, checked_on),
            )
            continue
        if begins <= current.valid_from:
            begins = now
        line = f"~ price {model.name}: {_shown(_spec(current))} -> {_shown(spec)} from {begins:%Y-%m-%d %H:%M}"
        current.valid_until = begins
        yield line, current, _row(model, spec, begins, spec.valid_until, checked_on)


def _holds_at(row: Price, moment: datetime) -> bool:
    return row.valid_from <= moment and _holds_after(row, moment)


def _holds_after(row: Price, moment: datetime) -> bool:
    return row.valid_until is None or row.valid_until > moment


def _slot(row: Price) -> tuple[str, int, int, int]:
    return (row.service_tier, row.min_context_tokens, row.daily_from_minute, row.daily_until_minute)


def _spec(row: Price) -> PriceSpec:
    return PriceSpec(
        input=row.input_nano_usd_per_mtok,
        output=row.output_nano_usd_per_mtok,
        cache_read=row.cache_read_nano_usd_per_mtok,
        cache_write=row.cache_write_nano_usd_per_mtok,
        cache_write_1h=row.cache_write_1h_nano_usd_per_mtok,
        reasoning=row.reasoning_nano_usd_per_mtok,
        web_search=row.web_search_nano_usd_per_thousand,
        service_tier=row.service_tier,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        min_context_tokens=row.min_context_tokens,
        daily_from_minute=row.daily_from_minute,
        daily_until_minute=row.daily_until_minute,
        source=row.source,
    )


def _row(model: Model, spec: PriceSpec, begins: datetime, ends: datetime | None, checked_on: date) -> Price:
    return Price(
        tenant=None,
        model=model,
        valid_from=begins,
        valid_until=ends,
        stated_until=ends,
        min_context_tokens=spec.min_context_tokens,
        daily_from_minute=spec.daily_from_minute,
        daily_until_minute=spec.daily_until_minute,
        input_nano_usd_per_mtok=spec.input,
        output_nano_usd_per_mtok=spec.output,
        cache_read_nano_usd_per_mtok=spec.cache_read,
        cache_write_nano_usd_per_mtok=spec.cache_write,
        cache_write_1h_nano_usd_per_mtok=spec.cache_write_1h,
        reasoning_nano_usd_per_mtok=spec.reasoning,
        web_search_nano_usd_per_thousand=spec.web_search,
        service_tier=spec.service_tier,
        source=spec.source,
        checked_on=checked_on,
    )


def _newest(specs: Sequence[PriceSpec]) -> PriceSpec:
    # The standard tier first, then what holds all day.
    return max(
        specs,
        key=lambda spec: (not spec.service_tier, spec.daily_until_minute - spec.daily_from_minute, spec.valid_from),
    )


def _shown(spec: PriceSpec) -> str:
    shown = f"{format_usd(spec.input)}/{format_usd(spec.output)} USD per million in/out"
    if spec.service_tier:
        shown = f"{spec.service_tier}: {shown}"
    return f"{shown} above {spec.min_context_tokens} tokens" if spec.min_context_tokens else shown
