"""What callers and judges thought of answers."""

from __future__ import annotations

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, FieldTextFilter
from unfold.decorators import display

from spendhub.tenants.admin_fields import Labelled, show_usd
from spendhub.tenants.admin_scoping import ReadOnlyAdmin
from telemetry.models import Feedback
from telemetry.models.feedback import SCORES

THUMBS_COLOURS = {"up": "success", "down": "danger"}


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    """Thumbs and scores, each beside what its call cost."""

    list_display = ("at", "model", "feature", "task", "shown_thumbs", "shown_overall", "said_by", "shown_cost")
    list_display_links = ("at",)
    list_select_related = ("span",)
    list_filter = (
        ("thumbs", ChoicesDropdownFilter),
        ("source", ChoicesDropdownFilter),
        ("model", FieldTextFilter),
        ("feature", FieldTextFilter),
        ("task", FieldTextFilter),
    )
    search_fields = ("model", "feature", "task", "comment")
    when_empty = "What is thought of an answer is told with POST /api/v1/feedback and the call's request id."
    fieldsets = (
        ("The opinion", {"fields": (("at", "source"), ("shown_thumbs", "shown_overall"), "shown_scores", "comment")}),
        ("The call", {"fields": ("span", ("model", "provider"), ("feature", "task"), "shown_cost")}),
    )

    @display(description="Thumbs", ordering="thumbs", label=THUMBS_COLOURS)
    def shown_thumbs(self, row: Feedback) -> Labelled | None:
        return Labelled(row.thumbs, str(row.get_thumbs_display())) if row.thumbs else None

    @display(description="Overall, 0 to 5", ordering="overall")
    def shown_overall(self, row: Feedback) -> str:
        return "–" if row.overall is None else f"{row.overall:g}"

    @display(description="Scores")
    def shown_scores(self, row: Feedback) -> str:
        said = [f"{name} {getattr(row, name):g}" for name in SCORES[1:] if getattr(row, name) is not None]
        return ", ".join(said) or "–"

    @display(description="By", ordering="source")
    def said_by(self, row: Feedback) -> str:
        return str(row.get_source_display()).split(":")[0]

    @display(description="The call cost", ordering="span__cost_nano_usd")
    def shown_cost(self, row: Feedback) -> str:
        return show_usd(row.span.cost_nano_usd)
