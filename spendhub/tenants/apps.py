from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "spendhub.tenants"
    label = "tenants"
    verbose_name = "Accounts and access"
    default_auto_field = "django.db.models.BigAutoField"
