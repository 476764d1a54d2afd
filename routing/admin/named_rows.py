"""Forms of rows that an account has one of by each name."""

from __future__ import annotations

from typing import Any

from spendhub.tenants.admin_scoping import ScopedForm


class NamedRowForm(ScopedForm):
    """Says at the name that it is taken, in words; the database would name its columns."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        name, row = cleaned.get("name"), self.instance
        rows = type(row).objects.across_tenants().filter(tenant=self.tenant, name=name).exclude(pk=row.pk)
        if name and "tenant" not in self.errors and rows.exists():
            self.add_error("name", f"{self._who_has(row._meta.verbose_name)} called “{name}” already.")
        return cleaned

    def _who_has(self, what: Any) -> str:
        if self.tenant is None:
            return f"There is a shared {what}"
        return f"You have a {what}" if self.tenant == self.seat_tenant else f"{self.tenant.name} has a {what}"
