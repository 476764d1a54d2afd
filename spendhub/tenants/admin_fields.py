"""How amounts, shares, times and lists are typed and shown in the admin: as people write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import escape
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from spendhub.errors import InvalidMoney
from spendhub.money import NANO_PER_USD, format_usd, parse_usd
from spendhub.tenants.attribution import Attribution, InvalidAttribution

# Thousands grouped by commas that can be nothing else.
_GROUPED = re.compile(r"[1-9][0-9]{0,2}((,[0-9]{3}){2,}(\.[0-9]*)?|,[0-9]{3}\.[0-9]*)")


def show_usd(nano_usd: int | None) -> str:
    """An amount for people, in lists: $1,234.50; below a dollar up to six decimals; an en dash for none.

    Only for a glance: where the exact amount counts, `show_exact_usd` says it, and `show_usd_left` what is left.
    """
    return _show_usd(nano_usd, ROUND_HALF_EVEN)


def show_usd_left(nano_usd: int | None) -> str:
    """An amount that is left, as `show_usd`, but rounded down: no more is promised than there is."""
    return _show_usd(nano_usd, ROUND_FLOOR)


def show_exact_usd(nano_usd: int | None) -> str:
    """An amount to the last of its nine decimals, without needless zeros: $1,234.50, $0.000019651; an en dash for
    none."""
    if nano_usd is None:
        return "–"
    sign, amount = ("-", -nano_usd) if nano_usd < 0 else ("", nano_usd)
    whole, _, decimals = format_usd(amount).partition(".")
    return f"{sign}${int(whole):,}.{decimals}"


def _show_usd(nano_usd: int | None, rounding: str) -> str:
    if nano_usd is None:
        return "–"
    if nano_usd == 0:
        return "$0.00"
    whole = abs(nano_usd)
    decimals = 2 if whole >= NANO_PER_USD else 4 if whole >= NANO_PER_USD // 100 else 6
    amount = (Decimal(nano_usd) / NANO_PER_USD).quantize(Decimal(1).scaleb(-decimals), rounding)
    sign = "-" if nano_usd < 0 else ""
    return f"{sign}under $0.000001" if amount == 0 else f"{sign}${abs(amount):,}"


def show_number(value: float) -> str:
    """A number with four digits that count, never in powers of ten: 101,900, 3.733, -0.0000342."""
    return f"{Decimal(f'{value:.4g}'):,f}"


def show_share(share: Decimal | str | None) -> str:
    """A share as a percentage: 0.8 is 80 %."""
    if share is None:
        return "–"
    return f"{(Decimal(share) * 100).normalize():f} %"


def show_seconds(seconds: int) -> str:
    """A length of time in its two largest units: 3,660 is 1 h 1 min."""
    parts, rest = [], seconds
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count:,} {unit}")
    return " ".join(parts[:2]) or "0 s"


class Labelled(tuple[str, str]):
    """A state's key and its words, for columns with `label=`: coloured by the key in a list, the words on a page.

    Unfold colours in lists alone; on a page it would write down the tuple as it is.
    """

    __slots__ = ()

    def __new__(cls, key: str, words: str) -> Labelled:
        return super().__new__(cls, (key, words))

    def __html__(self) -> str:
        return str(escape(self[1]))


class UsdField(forms.CharField):
    """US dollars as a decimal, kept as whole nano_usd."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault(
            "widget", UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "prefix": "$", "class": "sh-usd"})
        )
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return format_usd(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if text in self.empty_values:
            return None
        try:
            return parse_usd(_without_grouping(text) if isinstance(text, str) else text, is_chosen=True)
        except InvalidMoney as error:
            raise ValidationError(f"Write an amount in US dollars, such as 25 or 0.15: {error.message}.") from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(initial != self.clean(data))
        except ValidationError:
            return True


def _without_grouping(typed: str) -> str:
    amount = typed.replace("$", "").strip()
    # 12,50 is twelve and a half to many, and 1,250 a thousand to some and a little more than one to others.
    if "," in amount and not _GROUPED.fullmatch(amount):
        raise ValidationError(
            "Write an amount in US dollars with a point, such as 12.50 or 1,234.50: "
            f"{typed[:40]!r} could be read in two ways."
        )
    return amount.replace(",", "")


class PercentField(forms.CharField):
    """A percentage, kept as a share: 80 is 0.8."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "suffix": "%"}))
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{(value * 100).normalize():f}" if isinstance(value, Decimal) else value

    def clean(self, value: Any) -> Any:
        return parse_percent(super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(initial != self.clean(data))
        except ValidationError:
            return True


def parse_percent(text: str) -> Decimal:
    """A share from "80" or "80 %". Raises ValidationError outside 0 to 100."""
    try:
        percent = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        raise ValidationError(f"{text!r} is no percentage; write it like 80.") from None
    if not percent.is_finite() or not 0 <= percent <= 100:
        raise ValidationError(f"{text} is not between 0 and 100.")
    return (percent / 100).quantize(Decimal("0.0001"))


class LinesField(forms.CharField):
    """A list typed one entry a line. `read` makes an entry of a line (raising ValidationError),
    `show` makes its line."""

    def __init__(self, *, read: Callable[[str], Any] = str, show: Callable[[Any], str] = str, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextareaWidget(attrs={"rows": 4}))
        kwargs.setdefault("required", False)
        super().__init__(**kwargs)
        self._read, self._show = read, show

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) or value is None else self.lines(value)

    def lines(self, value: Any) -> str:
        """The text for a stored value."""
        return "\n".join(self._show(entry) for entry in value)

    def collect(self, entries: list[Any]) -> Any:
        """The value to store for the entries read; a list unless a subclass says otherwise."""
        return entries

    def clean(self, value: Any) -> Any:
        entries, errors = [], []
        for number, line in enumerate((super().clean(value) or "").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                entries.append(self._read(line.strip()))
            except ValidationError as error:
                errors.append(f"Line {number}: {' '.join(error.messages)}")
        if errors:
            raise ValidationError(errors)
        return self.collect(entries)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or self.collect([])) != self.clean(data))
        except ValidationError:
            return True


class AttributionField(LinesField):
    """Attribution typed as `agent: support-bot`, one dimension a line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read=_read_dimension, **kwargs)

    def lines(self, value: Any) -> str:
        return "\n".join(f"{dimension}: {key}" for dimension, key in value.items())

    def collect(self, entries: list[Any]) -> Any:
        try:
            return Attribution.parse(dict(entries)).as_dict()
        except InvalidAttribution as error:
            raise ValidationError(f"{error.message}.") from None


class WordsField(forms.MultipleChoiceField):
    """Some of a fixed list of words, ticked."""

    def __init__(self, words: Sequence[str], **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminCheckboxSelectMultipleWidget())
        kwargs.setdefault("required", False)
        super().__init__(choices=[(word, word) for word in words], **kwargs)


def _read_dimension(line: str) -> tuple[str, str]:
    dimension, separator, key = line.partition(":")
    if not separator:
        raise ValidationError(f"{line!r} should look like “agent: support-bot”.")
    return dimension.strip().lower(), key.strip()
