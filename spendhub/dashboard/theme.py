"""How the admin looks and what its sidebar leads to. Read by settings.UNFOLD, so nothing here may
import a model: what is asked per request is named by its path."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static
from django.urls import reverse, reverse_lazy

NAVIGATION = "spendhub.dashboard.navigation"


_pages: list[str] = []


def _item(title: str, icon: str, page: str, audience: str = "for_viewers") -> dict[str, Any]:
    _pages.append(page)
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{page}"),
        "permission": f"{NAVIGATION}.{audience}",
        "active": lambda request: _is_here(page, request.path),
    }


def _is_here(page: str, path: str) -> bool:
    """Whether the page shown belongs to this item: the one with the longest address that it begins with."""
    if path == reverse("admin:index"):
        return page == "index"
    links = {each: reverse(f"admin:{each}") for each in _pages if each != "index"}
    return page == max(
        (each for each, link in links.items() if path.startswith(link)), key=lambda each: len(links[each]), default=""
    )


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "SpendHub",
    "SITE_HEADER": "SpendHub",
    "SITE_SUBHEADER": f"{NAVIGATION}.account_name",
    "SITE_DROPDOWN": f"{NAVIGATION}.account_choices",
    "SITE_SYMBOL": "savings",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("spendhub/favicon.svg")},
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "DASHBOARD_CALLBACK": "spendhub.dashboard.home.home",
    "STYLES": [lambda request: static("spendhub/admin.css")],
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.9% .021 166.1)",
            "100": "oklch(95% .052 163.1)",
            "200": "oklch(90.5% .093 164.2)",
            "300": "oklch(84.5% .143 165)",
            "400": "oklch(76.5% .147 163.2)",
            "500": "oklch(64% .135 162.5)",
            "600": "oklch(53% .115 163.2)",
            "700": "oklch(47% .1 165.6)",
            "800": "oklch(41% .085 166.9)",
            "900": "oklch(36% .072 168.9)",
            "950": "oklch(26.2% .051 172.6)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    _item("Overview", "dashboard", "index"),
                    _item("Budgets", "savings", "budgets_budget_changelist"),
                    _item("Brakes", "speed", "telemetry_brake_changelist"),
                    _item("Spend", "receipt_long", "telemetry_costspan_changelist"),
                    _item("Savings", "trending_down", "telemetry_savings"),
                ]
            },
            {
                "title": "What happened",
                "separator": True,
                "items": [
                    _item("Decisions", "gavel", "budgets_decision_changelist"),
                    _item("Budget events", "notifications", "budgets_budgetevent_changelist"),
                    _item("Brake stops", "front_hand", "telemetry_brakestop_changelist"),
                    _item("Feedback", "thumbs_up_down", "telemetry_feedback_changelist"),
                    _item("Idempotency keys", "repeat", "telemetry_keyedcall_changelist"),
                    _item("Experiments", "science", "telemetry_experiments"),
                    _item("Performance", "leaderboard", "telemetry_performance"),
                    _item("Changes", "history", "tenants_change_changelist", "for_analysts"),
                ],
            },
            {
                "title": "Catalog",
                "separator": True,
                "items": [
                    _item("Models", "smart_toy", "routing_model_changelist"),
                    _item("Routes", "alt_route", "routing_route_changelist"),
                    _item("Prices", "sell", "routing_price_changelist"),
                    _item("Kept answers", "history_toggle_off", "telemetry_responsecacherule_changelist"),
                    _item("Providers", "cloud", "routing_provider_changelist"),
                    _item("Vendor keys", "vpn_key", "routing_credential_changelist", "for_admins"),
                    _item("Vendor health", "monitor_heart", "routing_vendor_health"),
                ],
            },
            {
                "title": "Account",
                "separator": True,
                "items": [
                    _item("API keys", "key", "tenants_apikey_changelist", "for_analysts"),
                    _item("People", "group", "tenants_membership_changelist", "for_analysts"),
                    _item("Account", "storefront", "tenants_tenant_changelist"),
                    _item("Sign-ins", "manage_accounts", "auth_user_changelist", "for_operators"),
                ],
            },
        ],
    },
}
