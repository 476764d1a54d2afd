"""One class and one registration; and a hook of each kind, those that watch writing down what they are shown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.apps import AppConfig


class StrangersAppConfig(AppConfig):
    name = "tests.strangers_app"

    def ready(self) -> None:
        from routing import hooks
        from routing.strategies.base import Option, Ranking, Strategy, Task, in_order
        from routing.strategies.registry import register

        class LastName(Strategy):
            name, summary = "last-name", "The model whose name begins latest in the alphabet; of several, the cheapest."

            def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> None:
                return None

            def rank(self, options: Sequence[Option], task: Task, settings: Any) -> Ranking:
                ranked = in_order(options, lambda option: ord(option.name[0]))
                return Ranking(ranked, "the last by name", "first letter")

        register(LastName())

        def never_vendor_out(wanted: Any) -> Any:
            denied = wanted.declared.deny | {"vendor-out"}
            return replace(wanted, declared=replace(wanted.declared, deny=denied))

        hooks.BEFORE_ROUTING.append(never_vendor_out)
        # Nobody asks again where a vendor has failed; 501, which is never repeated otherwise, is asked again.
        hooks.MAY_REPEAT.append(lambda error: {500: False, 501: True}.get(getattr(error, "status", 0)))
        hooks.AFTER_ROUTING.append(
            lambda wanted, plan: note("routed", [wanted.name, plan.strategy, plan.candidates[0].model.name])
        )
        hooks.AFTER_EXECUTION.append(
            lambda facts: note("executed", [facts["model"], facts["status"], facts["cost_nano_usd"]])
        )


def note(kind: str, facts: list[Any]) -> None:
    """One line of what a hook was shown."""
    with Path(os.environ["STRANGERS_NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(json.dumps([kind, *facts]) + "\n")
