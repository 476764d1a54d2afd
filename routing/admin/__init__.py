"""The catalog and the routes in the admin; Django finds the pages here."""

from routing.admin.breakers import VendorHealthPages
from routing.admin.catalog import ModelAdmin, OwnedRowAdmin, PriceAdmin, ProviderAdmin
from routing.admin.credentials import CredentialAdmin
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
