from django.apps import AppConfig


class BudgetsConfig(AppConfig):
    name = "budgets"
    verbose_name = "Budgets"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Routing asks who names a model before it is renamed, and may not know what a budget is.
        from budgets.model_uses import uses_in_budgets
        from routing import model_uses

        model_uses.FINDERS.append(uses_in_budgets)
