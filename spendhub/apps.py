from django.apps import AppConfig


class SpendHubConfig(AppConfig):
    name = "spendhub"
    verbose_name = "SpendHub"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from routing import pasted_requests
        from spendhub import checks  # noqa: F401  # importing registers them
        from spendhub.gateway.pasted_requests import read_pasted

        # Routing shows what would become of a request, and may not know what clients' bodies mean.
        pasted_requests.set_reader(read_pasted)
