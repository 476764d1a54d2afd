"""Lists come in pages: `limit` rows, and the address of the next page."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from spendhub.errors import Invalid


class Pages(CursorPagination):
    """`?limit=50&cursor=...`: 1 to 500 rows in a stable order; `next` and `previous` are addresses.

    The order is the view's `ordering`, else newest first by primary key. A row added or removed
    meanwhile moves no other onto a page twice.
    """

    page_size = 50
    max_page_size = 500
    page_size_query_param = "limit"
    ordering = "-pk"

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("limit")
        if given is None:
            return self.page_size
        if not (given.isascii() and given.isdigit() and len(given) < 9 and 1 <= int(given) <= self.max_page_size):
            raise Invalid(f"limit is a number from 1 to {self.max_page_size}", field="limit")
        return int(given)

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        ordering = getattr(view, "ordering", None) or self.ordering
        return (ordering,) if isinstance(ordering, str) else tuple(ordering)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except exceptions.NotFound:
            raise Invalid("cursor is not one that a page of this list has given", field="cursor") from None
