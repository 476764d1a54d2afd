"""What a tenant may enter as an upstream of its own.

The installation's secrets live in environment variables, and its network has addresses that no
customer should reach through us; so a tenant names only variables set aside for it, and public https addresses.
A public name that leads to a private address is not caught here: a deployment with
untrusted tenants also restricts where its servers may connect to.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from routing.models import Provider
from spendhub.errors import Invalid


class UpstreamNotAllowed(Invalid):
    """A tenant's own upstream may not have this address or key variable."""

    code = "upstream_not_allowed"

    def __init__(self, field: str, must: str) -> None:
        super().__init__(f"{field} {must}", field=field)
        # Without the column's name, for a page on which the field has a label.
        self.must = must


def key_prefix_of(tenant_id: int) -> str:
    """How the names of environment variables begin that tenant `tenant_id` may use."""
    return f"TENANT_{tenant_id}_"


def check_own_key(tenant_id: int, api_key_env: str) -> None:
    """Raises UpstreamNotAllowed unless the variable is set aside for this tenant (or none is named)."""
    if api_key_env and not api_key_env.startswith(key_prefix_of(tenant_id)):
        raise UpstreamNotAllowed(
            "api_key_env", f"must begin with {key_prefix_of(tenant_id)}: other variables belong to the installation"
        )


def check_own_address(base_url: str) -> None:
    """Raises UpstreamNotAllowed unless the address is https and not plainly a private one (or empty)."""
    if not base_url:
        return
    parts = urlsplit(base_url)
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme != "https" or not _is_public(host):
        raise UpstreamNotAllowed("base_url", "must be a public https address")


def problem_of_address(dialect: str, base_url: str, stored: str | None) -> str:
    """What is wrong with the address of a provider, as a sentence's words without its subject; "" for nothing. `stored`
    is the one that it has, None for a new one. One without an address stays as it is: its models may have their own."""
    if base_url or stored == "" or dialect not in Provider.Dialect.values or dialect == Provider.Dialect.SANDBOX:
        return ""
    return f"is needed: it is where calls of the dialect {dialect} are sent"


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    # Forms of an address that resolvers understand and ipaddress does not: 2130706433, 0x7f.1, 127.1
    last = host.rpartition(".")[2]
    is_number = last.isdigit() or last.startswith("0x")
    return "." in host and not is_number and last not in ("local", "localhost", "internal", "lan", "home", "arpa")
