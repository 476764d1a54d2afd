"""The catalog and the routes in the admin; Django finds the pages here."""

from routing.admin.breakers import VendorHealthPages
from routing.admin.credentials import CredentialAdmin
from routing.admin.models import ModelAdmin
from routing.admin.owned_rows import OwnedRowAdmin
from routing.admin.prices import PriceAdmin
from routing.admin.providers import ProviderAdmin
from routing.admin.routes import RouteAdmin

__all__ = [
    "CredentialAdmin",
    "ModelAdmin",
    "OwnedRowAdmin",
    "PriceAdmin",
    "ProviderAdmin",
    "RouteAdmin",
    "VendorHealthPages",
]
