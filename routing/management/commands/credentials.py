"""manage.py credentials: a new encryption key for vendors' keys, and their change to it without a pause."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.credentials import reseal_all


class Command(BaseCommand):
    help = "Encryption of vendors' keys: see docs/credentials.md."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("new-key", help="prints a fresh key for SPENDHUB_ENCRYPTION_KEYS, alone on its line")
        verbs.add_parser("reseal", help="encrypts every vendor key anew, with the first of SPENDHUB_ENCRYPTION_KEYS")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if verb == "new-key":
            self.stdout.write(Fernet.generate_key().decode())
            return
        resealed, unreadable = reseal_all()
        self.stdout.write(f"Encrypted {resealed} vendor keys with the first of SPENDHUB_ENCRYPTION_KEYS.")
        if unreadable:
            raise CommandError(
                f"{len(unreadable)} cannot be read with today's keys and stay as they are; enter them again, or bring "
                f"back the key they were encrypted with: {', '.join(unreadable)}"
            )
