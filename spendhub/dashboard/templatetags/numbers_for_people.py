"""Numbers for people."""

from __future__ import annotations

from django import template

from spendhub.money import parse_usd
from spendhub.tenants.admin_fields import show_usd, show_usd_left

register = template.Library()


@register.filter
def with_commas(number: int) -> str:
    """12345 as 12,345."""
    return f"{number:,}"


@register.filter
def usd(amount: str) -> str:
    """A decimal string in USD, as people read it."""
    return show_usd(parse_usd(amount))


@register.filter
def usd_left(amount: str) -> str:
    """As `usd`, of what is left: rounded down."""
    return show_usd_left(parse_usd(amount))
