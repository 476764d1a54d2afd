from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    name = "telemetry"
    verbose_name = "Spend"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Budgets ask what was spent before they existed, and may not know what a span is.
        from budgets import openings
        from telemetry.recorded_spend import RecordedSpans

        openings.recorded = RecordedSpans()
        # And routing, whether a model was ever called, before its prices may be deleted.
        from routing import model_uses
        from telemetry.recorded_spend import was_called

        model_uses.was_called = was_called
