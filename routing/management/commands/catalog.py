"""manage.py catalog update [FILE], manage.py catalog export [FILE]"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from routing.catalog import BUILT_IN_FILES, refresh_catalog
from routing.catalog_export import export_catalog
from routing.configured_models import apply_configured_models
from routing.errors import InvalidCatalog

SHOWN_LINES = 40


class Command(BaseCommand):
    """Loads or refreshes models, capabilities, prices and routes, and prints what changed; or writes them to a file."""

    help = (
        "catalog update [FILE]: load or refresh models, capabilities, prices and routes; prints what changed. "
        "catalog export [FILE]: write the shared catalog to a file (or print it) that update reads."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["update", "export"], help="read a catalog, or write it")
        parser.add_argument("file", nargs="?", type=Path, help="update: instead of the built-in ones; export: to write")

    def handle(self, *args: Any, **options: Any) -> None:
        given: Path | None = options.get("file")
        if options["action"] == "export":
            self._export(given)
        else:
            self._update(given, options["verbosity"])

    def _export(self, given: Path | None) -> None:
        content = export_catalog(timezone.now())
        text = json.dumps(content, indent=1, ensure_ascii=False)
        if given is None:
            self.stdout.write(text)
            return
        try:
            given.write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{given}: {error.strerror}") from None
        prices = sum(len(model["prices"]) for model in content["models"])
        providers, models, routes = (len(content[each]) for each in ("providers", "models", "routes"))
        self.stdout.write(f"{providers} providers, {models} models, {prices} prices and {routes} routes in {given}")

    def _update(self, given: Path | None, verbosity: int) -> None:
        now = timezone.now()
        try:
            changes = refresh_catalog([given] if given else BUILT_IN_FILES, now)
            lines = changes.lines + apply_configured_models(settings.ROUTER_CONFIG_MODELS, now)
        except InvalidCatalog as error:
            raise CommandError(error.message) from None
        if not lines:
            self.stdout.write("no changes")
            return
        shown = lines if verbosity > 1 else lines[:SHOWN_LINES]
        for line in shown:
            self.stdout.write(line)
        if len(shown) < len(lines):
            self.stdout.write(f"... and {len(lines) - len(shown)} more (--verbosity 2 shows all)")
        self.stdout.write(f"{len(lines)} changes")
