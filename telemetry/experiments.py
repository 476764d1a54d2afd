"""How experiments (routes with the strategy `weighted`) have turned out: arm beside arm, and what that proves.

Read from what every call keeps of its choice (`metadata`: route, experiment, arm). docs/routing.md, "Experiments".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max, Min
from django.db.models.fields.json import KeyTextTransform

from routing.errors import InvalidRoute
from routing.route_options import options_of
from routing.snapshot import CATALOG
from routing.strategies.significance import SIGNIFICANT_BELOW, Arm, Comparison, Measured, compare, compare_means
from routing.strategies.weighted import Weighted, WeightedSettings
from spendhub.errors import Missing
from telemetry.call_samples import CallSample, Period, Tally

MOST_EXPERIMENTS = 200
# More are not worth counting towards: the difference is too small to matter.
MOST_WORTH_SAYING = 1_000_000


class ExperimentMissing(Missing):
    """No experiment of this name was seen in the period, and no weighted route has it."""

    code = "experiment_missing"

    def __init__(self, name: str) -> None:
        super().__init__(f"no experiment or weighted route is called {name[:60]!r} in this period", name=name[:120])


@dataclass(slots=True)
class ArmSeen:
    """One arm: the calls that its own model took, how many drew it at first, and how often another model stepped in."""

    name: str
    tally: Tally
    drawn: int = 0
    elsewhere: int = 0

    @property
    def successes(self) -> Arm:
        """Calls that ended by themselves; one that its caller broke off proves nothing."""
        return Arm(self.name, self.tally.ended, self.tally.succeeded)

    @property
    def ratings(self) -> Measured:
        """What was thought of its answers."""
        return Measured.of(self.name, self.tally.qualities)


def experiments_seen(period: Period) -> dict[str, Any]:
    """The experiments that calls of the period took part in, the latest first."""
    sample = _sample_of(period)
    keys = {name: KeyTextTransform(name, "metadata") for name in ("experiment", "route", "arm")}
    seen = sample.calls.filter(metadata__has_key="experiment").annotate(**keys).values(*keys)
    found: dict[str, dict[str, Any]] = {}
    for row in seen.annotate(calls=Count("id"), first=Min("occurred_at"), last=Max("occurred_at")):
        told = found.setdefault(
            row["experiment"],
            {"name": row["experiment"], "routes": set(), "arms": set(), "calls": 0,
             "first_seen": row["first"], "last_seen": row["last"]},
        )  # fmt: skip
        told["routes"].add(row["route"] or "")
        told["arms"].add(row["arm"] or "")
        told["calls"] += row["calls"]
        told["first_seen"] = min(told["first_seen"], row["first"])
        told["last_seen"] = max(told["last_seen"], row["last"])
    latest = sorted(found.values(), key=lambda each: each["last_seen"], reverse=True)[:MOST_EXPERIMENTS]
    return {
        "from": period.starts_at,
        "to": period.ends_at,
        "sample": sample.told(),
        "results": [{**each, "routes": sorted(each["routes"]), "arms": sorted(each["arms"])} for each in latest],
    }


def experiment_report(period: Period, asked: str) -> dict[str, Any]:
    """One experiment, by its own name or its route's. Raises ExperimentMissing."""
    sample = _sample_of(period)
    name = _name_of(sample, period.tenant_id, asked)
    arms, routes = _read(sample, name)
    split = _split_of(period.tenant_id, name, routes)
    for arm in split:
        arms.setdefault(arm, ArmSeen(arm, sample.tally()))
    ordered = sorted(arms.values(), key=lambda arm: (-split.get(arm.name, 0.0), arm.name))
    drawn = sum(arm.drawn for arm in ordered)
    return {
        "from": period.starts_at,
        "to": period.ends_at,
        "name": name,
        "routes": sorted(routes),
        "sample": sample.told(),
        "arms": [_told(arm, split.get(arm.name), drawn) for arm in ordered],
        "comparisons": comparisons(ordered),
    }


def routes_of(tenant_id: int, experiment: str) -> list[str]:
    """The names of the weighted routes that share their calls out under that name today."""
    return sorted(route for route, (name, _) in _set_up(tenant_id).items() if name == experiment)


def comparisons(arms: Sequence[ArmSeen]) -> list[dict[str, Any]]:
    """Each arm beside the first, which is the one meant to get most calls.

    With several, each must be so much surer that all together are as sure as one (Bonferroni).
    """
    if len(arms) < 2:
        return []
    first, others = arms[0], arms[1:]
    below = SIGNIFICANT_BELOW / len(others)
    return [
        {
            "baseline": first.name,
            "arm": other.name,
            "success": _verdict(
                compare(first.successes, other.successes, significant_below=below),
                min(first.tally.ended, other.tally.ended), "calls",
            ),
            "quality": _verdict(
                compare_means(first.ratings, other.ratings, significant_below=below),
                min(first.ratings.count, other.ratings.count), "ratings",
            ),
        }
        for other in others
    ]  # fmt: skip


def _verdict(found: Comparison, fewest: int, counted: str) -> dict[str, Any]:
    missing = None if found.is_significant or found.needed is None else max(0, found.needed - fewest)
    return {
        "better": found.better,
        "is_significant": found.is_significant,
        "p_value": float(f"{found.p_value:.3g}"),
        "missing": missing,
        "note": f"{found.note}{_said_of(missing, counted)}",
    }


def _said_of(missing: int | None, counted: str) -> str:
    if not missing:
        return ""
    if missing > MOST_WORTH_SAYING:
        return f" More than {MOST_WORTH_SAYING:,} {counted} more would be needed of each: it makes no difference."
    return f" About {float(f'{missing:.2g}'):,.0f} more {counted} of the one with fewer would tell, as things stand."


def _told(arm: ArmSeen, wanted: float | None, drawn: int) -> dict[str, Any]:
    return {
        "name": arm.name,
        "share_wanted": wanted,
        "share_seen": round(arm.drawn / drawn, 4) if drawn else None,
        **arm.tally.told(),
        "elsewhere": arm.elsewhere,
    }


def _sample_of(period: Period) -> CallSample:
    # Of spans that clients report, the metadata is their own: it may say anything.
    return CallSample(Period(period.tenant_id, period.starts_at, period.ends_at, {"source": "gateway"}))


def _read(sample: CallSample, name: str) -> tuple[dict[str, ArmSeen], set[str]]:
    arms: dict[str, ArmSeen] = {}
    routes: set[str] = set()
    for call, rating in sample.rows(sample.calls.filter(metadata__experiment=name)):
        facts = call["metadata"]
        drawn = str(facts.get("arm", ""))
        arm = arms.setdefault(drawn, ArmSeen(drawn, sample.tally()))
        routes.add(str(facts.get("route", "")))
        arm.drawn += "attempt" not in facts
        if call["model"] == drawn:
            arm.tally.add(call, rating)
        else:
            arm.elsewhere += 1
    return arms, routes


def _name_of(sample: CallSample, tenant_id: int, asked: str) -> str:
    """The experiment that is meant: seen by its name, seen on a route of that name, or merely set up."""
    if sample.calls.filter(metadata__experiment=asked).exists():
        return asked
    of_route = sample.calls.filter(metadata__route=asked, metadata__has_key="experiment").order_by("-occurred_at")
    latest = of_route.values_list("metadata", flat=True).first()
    if latest is not None:
        return str(latest["experiment"])
    for route, (name, _) in _set_up(tenant_id).items():
        if asked in (route, name):
            return name
    raise ExperimentMissing(asked)


def _split_of(tenant_id: int, name: str, routes: Iterable[str]) -> Mapping[str, float]:
    """The shares as they are set up today; empty where the experiment is over."""
    set_up = {route: split for route, (experiment, split) in _set_up(tenant_id).items() if experiment == name}
    for route in (*sorted(routes), *sorted(set_up)):
        if route in set_up:
            return set_up[route]
    return {}


def _set_up(tenant_id: int) -> dict[str, tuple[str, Mapping[str, float]]]:
    """By route: its experiment's name and shares, of every weighted route that the tenant sees."""
    found: dict[str, tuple[str, Mapping[str, float]]] = {}
    for name, route in CATALOG.current().routes.seen_by(tenant_id).items():
        if route.strategy != Weighted.name:
            continue
        try:
            settings: WeightedSettings = options_of(route).settings
        except InvalidRoute:
            continue  # saved around the checks: nothing draws by it
        found[name] = (settings.experiment or name, settings.split)
    return found
