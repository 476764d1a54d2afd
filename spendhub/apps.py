from django.apps import AppConfig


class SpendHubConfig(AppConfig):
    name = "spendhub"
    verbose_name = "SpendHub"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from spendhub import checks  # noqa: F401  # importing registers them
