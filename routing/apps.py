from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = "Models and prices"
    default_auto_field = "django.db.models.BigAutoField"
