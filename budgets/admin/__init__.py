"""Pages of the admin: budgets with their live numbers, what happened to them, and why calls were allowed or refused."""

from budgets.admin.budgets import BudgetAdmin
from budgets.admin.decisions import DecisionAdmin
from budgets.admin.events import BudgetEventAdmin

__all__ = ["BudgetAdmin", "BudgetEventAdmin", "DecisionAdmin"]
