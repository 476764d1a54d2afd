from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "spendhub.dashboard"
    label = "dashboard"
