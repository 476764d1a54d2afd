"""The catalog: providers, their models, what a token costs from which day on, and how calls find a model.

A row without a tenant is shared by the whole installation (loaded by `catalog update`); a row with
one is that tenant's own and stands before the shared row of the same name.
"""

from routing.models.credential import Credential
from routing.models.model import Model, problem_of_sizes
from routing.models.price import Price
from routing.models.provider import Provider
from routing.models.route import Route
from routing.models.rows import CAPABILITIES, CATALOG_SNAPSHOT, CatalogRow, validate_base_url

__all__ = [
    "CAPABILITIES",
    "CATALOG_SNAPSHOT",
    "CatalogRow",
    "Credential",
    "Model",
    "Price",
    "Provider",
    "Route",
    "problem_of_sizes",
    "validate_base_url",
]
