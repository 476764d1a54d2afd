"""All that a tenant learns of the installation's own keys: whether there is one."""

from __future__ import annotations

import os
from typing import Any

from rest_framework import serializers

from routing.models import Provider
from routing.snapshot import CATALOG


class InstallationKeyFlag(serializers.BooleanField):
    """Whether the installation has a key for a shared provider."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            source="*", read_only=True, help_text="The installation has a key for it: yours is not needed.", **options
        )

    def to_representation(self, value: Any) -> bool:
        return has_installation_key(value)


def has_installation_key(provider: Provider) -> bool:
    """Whether calls can be made on the installation's bill: by a key it has entered, or by the variable."""
    if provider.tenant_id is not None:
        return False
    if provider.api_key_env and os.environ.get(provider.api_key_env, "").strip():
        return True
    facts = next((facts for facts in CATALOG.current().providers if facts.id == provider.pk), None)
    return facts is not None and any(key.secret is not None for key in facts.credentials)
