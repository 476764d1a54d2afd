"""manage.py catalog update [FILE]"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from routing.catalog import BUILT_IN_FILES, refresh_catalog
from routing.configured_models import apply_configured_models
from routing.errors import InvalidCatalog

SHOWN_LINES = 40


class Command(BaseCommand):
    """Loads or refreshes models, capabilities and prices, and prints what changed."""

    help = "catalog update [FILE]: load or refresh models, capabilities and prices; prints what changed"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["update"], help="load or refresh models, capabilities and prices")
        parser.add_argument("file", nargs="?", type=Path, help="a catalog file to use instead of the built-in ones")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        given: Path | None = options.get("file")
        try:
            changes = refresh_catalog([given] if given else BUILT_IN_FILES, now)
            lines = changes.lines + apply_configured_models(settings.ROUTER_CONFIG_MODELS, now)
        except InvalidCatalog as error:
            raise CommandError(error.message) from None
        if not lines:
            self.stdout.write("no changes")
            return
        shown = lines if options["verbosity"] > 1 else lines[:SHOWN_LINES]
        for line in shown:
            self.stdout.write(line)
        if len(shown) < len(lines):
            self.stdout.write(f"... and {len(lines) - len(shown)} more (--verbosity 2 shows all)")
        self.stdout.write(f"{len(lines)} changes")
