"""manage.py provider set NAME: add an upstream, or give a known one another dialect, address or key."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing.catalog import set_provider
from routing.errors import InvalidCatalog
from routing.models.provider import dialect_choices


class Command(BaseCommand):
    """Adds an upstream, or gives a known one another address or key."""

    help = "provider set NAME: add an upstream, or give a known one another dialect, address or key"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["set"], help="add an upstream, or change a known one")
        parser.add_argument("name")
        dialects = [name for name, _ in dialect_choices()]
        parser.add_argument("--dialect", choices=dialects, help="the wire format it speaks")
        parser.add_argument("--base-url", help="where calls are sent, e.g. https://api.openai.com/v1")
        parser.add_argument("--api-key-env", help="the environment variable that holds its key")
        parser.add_argument(
            "--auth-header", help="the header that carries the key: authorization, or api-key for Azure"
        )
        parser.add_argument(
            "--has-responses", action=BooleanOptionalAction, default=None, help="it speaks OpenAI's Responses API too"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            provider, created = set_provider(
                options["name"],
                dialect=options["dialect"],
                base_url=options["base_url"],
                api_key_env=options["api_key_env"],
                auth_header=options["auth_header"],
                has_responses=options["has_responses"],
            )
        except InvalidCatalog as error:
            raise CommandError(error.message) from None
        word = "added" if created else "set"
        key = f", key from {provider.api_key_env}" if provider.api_key_env else ", no key"
        self.stdout.write(f"{word} provider {provider.name}: {provider.dialect} at {provider.base_url or '-'}{key}")
