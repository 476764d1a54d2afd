"""`manage.py demo`: an account with a month of sample data, to look around in."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from spendhub.demo import CatalogIsEmpty, DemoHoldsOwnCalls, make_demo, remove_demo


class Command(BaseCommand):
    help = "Makes a demo account with a month of sample spend; prints its API key alone on the last line, once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remove", action="store_true", help="delete the demo account and all it holds")
        parser.add_argument(
            "--with-own-calls", action="store_true", help="with --remove: also delete calls that are no samples"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["remove"]:
            self._remove(options["with_own_calls"])
            return
        began = time.monotonic()
        try:
            made = make_demo(lambda line: self.stderr.write(line))
        except CatalogIsEmpty as error:
            raise CommandError(error.message) from None
        if not made.is_new:
            self.stderr.write("The demo account is there already; nothing was changed.")
            return
        self.stderr.write(
            f"The demo account is ready: {made.calls:,} sample calls, {made.budgets} budgets, "
            f"in {time.monotonic() - began:.1f} s. `manage.py demo --remove` takes it away."
        )
        if made.password:
            self.stdout.write(f"Login: {made.login}")
            self.stdout.write(f"Password: {made.password}")
        self.stdout.write(made.key)

    def _remove(self, with_own_calls: bool) -> None:
        try:
            existed = remove_demo(with_own_calls=with_own_calls)
        except DemoHoldsOwnCalls as error:
            raise CommandError(f"{error.message} Add --with-own-calls to delete them as well.") from None
        self.stderr.write("The demo account is gone." if existed else "There is no demo account.")
