from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = "Models and prices"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from routing import signing_checks  # noqa: F401  # importing registers them
