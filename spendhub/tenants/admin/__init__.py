"""Pages of the admin: accounts, their people, their agents' keys, sign-ins, and the record of changes."""

from spendhub.tenants.admin.accounts import AccountAdmin
from spendhub.tenants.admin.api_keys import ApiKeyAdmin
from spendhub.tenants.admin.changes import ChangeAdmin
from spendhub.tenants.admin.people import MembershipAdmin
from spendhub.tenants.admin.sign_ins import PersonAdmin

__all__ = ["AccountAdmin", "ApiKeyAdmin", "ChangeAdmin", "MembershipAdmin", "PersonAdmin"]
