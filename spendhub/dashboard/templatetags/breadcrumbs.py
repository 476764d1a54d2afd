"""Where a page stands, in the words of the menu beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import template
from django.conf import settings

register = template.Library()


@register.filter
def as_in_the_menu(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Unfold's parts of a page's head (the app, the list, the row): a list that the menu has is called as there, and
    needs no app before it. `is_app`, `follows_app` and `is_row` say what a part is."""
    marked = [
        {**part, "is_app": place == 0 and len(parts) > 1, "follows_app": place == 1, "is_row": place == 2}
        for place, part in enumerate(parts)
    ]
    title = _titles().get(str(parts[1].get("link", ""))) if len(parts) > 1 else None
    return marked if title is None else [{**marked[1], "title": title}, *marked[2:]]


def _titles() -> dict[str, str]:
    groups = settings.UNFOLD["SIDEBAR"]["navigation"]
    return {str(item["link"]): item["title"] for group in groups for item in group["items"]}
