"""Forms that know what they showed, so that nobody undoes unawares what somebody else has changed meanwhile.

The page of a row carries, unseen, a fingerprint of each field as it stood when the page was made. When the form comes
back, the row is locked and read anew: where it has become another one, what was typed is given back with a word on who
changed what. The form that is given back stands on the new row: sent once more, it is saved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import copy
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from spendhub.tenants.models import Change

AS_SHOWN = "as_shown"
_LONGEST_SHOWN = 80


class AsShownField(forms.CharField):
    """The fingerprints of a form's fields, and when they were taken. Whatever was sent, a page gets fresh ones."""

    def __init__(self) -> None:
        super().__init__(required=False, widget=forms.HiddenInput())

    def bound_data(self, data: Any, initial: Any) -> Any:
        return initial

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class WatchfulForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own class takes no arguments when it runs
    """A form that is not saved over what has changed since it was shown. A form that does not say what it showed, as
    one that a script sends, is taken as it is."""

    as_shown = AsShownField()
    _shown_at: datetime
    _shown_before: Mapping[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self._remember()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self._shown_at, self._shown_before = _read(cleaned.pop(AS_SHOWN, ""))
        if not self.instance._state.adding and self._shown_before:
            self._read_anew()
        return cleaned

    def _post_clean(self) -> None:
        # What the row is now: `super` gives the instance what was typed, as the form has rewritten it by then.
        now = copy(self.instance)
        super()._post_clean()  # type: ignore[misc]  # Django's hook, which the stubs leave out
        shown = {} if now._state.adding else self._shown_before
        changed = [name for name, print_ in self._fingerprints(now).items() if shown.get(name, print_) != print_]
        if not changed:
            return
        if self._is_anything_asked_for(now):
            self.add_error(None, self._told(now, changed))
        else:
            self._leave_as_it_is(now)

    def _is_anything_asked_for(self, now: models.Model) -> bool:
        """Whether what was typed differs both from what was shown and from what stands there now, as it does not when
        the same form is sent twice."""
        typed, stored, shown = self._fingerprints(self.instance), self._fingerprints(now), self._shown_before
        return any(
            name not in stored or name in self.errors or typed[name] not in (stored[name], shown.get(name))
            for name in self.changed_data
        )

    def _leave_as_it_is(self, now: models.Model) -> None:
        for name in self._stored(now):
            self.cleaned_data[name] = getattr(now, name)
            setattr(self.instance, name, getattr(now, name))

    def _read_anew(self) -> None:
        # Locked, so that of two who save at the same moment the second sees what the first has made of it.
        rows = type(self.instance)._base_manager.select_for_update(no_key=True)
        try:
            self.instance.refresh_from_db(from_queryset=rows)
        except type(self.instance).DoesNotExist:
            raise ValidationError("Since you opened this, somebody has deleted it.") from None
        self.initial.update(self._stored(self.instance))
        self._remember()

    def _remember(self) -> None:
        kept = {"at": datetime.now(UTC).timestamp(), "fields": self._fingerprints(self.instance)}
        self.initial[AS_SHOWN] = json.dumps(kept, separators=(",", ":"))

    def _stored(self, row: models.Model) -> dict[str, Any]:
        stored = forms.model_to_dict(row)
        return {name: value for name, value in stored.items() if name in self.fields}

    def _fingerprints(self, row: models.Model) -> dict[str, str]:
        return {name: _fingerprint(value) for name, value in self._stored(row).items()}

    def _told(self, now: models.Model, changed: list[str]) -> str:
        values = "; ".join(f"{self._label(name)} is {self._shown(now, name)} now" for name in changed)
        return (
            f"Since you opened this, {_who_changed(now, self._shown_at)}: {values}. What you typed stands below and "
            "is not saved yet: look again, and save once more if it is to stand instead."
        )

    def _label(self, name: str) -> str:
        return str(self[name].label)

    def _shown(self, now: models.Model, name: str) -> str:
        kept = now._meta.get_field(name)
        value = getattr(now, name)
        if isinstance(value, bool):
            return "on" if value else "off"
        if value is not None and kept.is_relation:
            return str(value)
        if getattr(kept, "choices", None):
            return str(getattr(now, f"get_{name}_display")()) or "empty"
        if isinstance(value, datetime):
            return f"{timezone.localtime(value):%Y-%m-%d %H:%M}"
        shown = self.fields[name].prepare_value(value)
        text = " ".join(str("" if shown is None else shown).split())
        return f"{text[:_LONGEST_SHOWN]}…" if len(text) > _LONGEST_SHOWN else text or "empty"


def _fingerprint(value: Any) -> str:
    written = json.dumps(value, sort_keys=True, default=_plain)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain(value: Any) -> str:
    # A moment that was typed is in the reader's time zone, a stored one in UTC.
    return str(value.astimezone(UTC)) if isinstance(value, datetime) else str(value)


def _read(sent: str) -> tuple[datetime, Mapping[str, Any]]:
    """When the form was shown and the fingerprints of its fields; none where it does not say."""
    try:
        kept = json.loads(sent)
        return datetime.fromtimestamp(kept["at"], UTC), {**kept["fields"]}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return datetime.now(UTC), {}


def _who_changed(row: models.Model, since: datetime) -> str:
    """Who changed it last since that moment, and when, as far as that is on record."""
    changes = Change.objects.across_tenants().filter(
        subject_type=row._meta.label_lower, subject_id=str(row.pk), action="update", at__gte=since
    )
    last = changes.order_by("-pk").first()
    if last is None:
        return "somebody has changed it"
    who = last.actor.removeprefix("user:").replace("key:", "the API key ")
    return f"{who} has changed it at {timezone.localtime(last.at):%Y-%m-%d %H:%M}"
