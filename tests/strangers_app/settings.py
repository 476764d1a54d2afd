"""SpendHub's settings with the stranger's application beside it."""

from spendhub.settings import *  # noqa: F403  # an installation's settings are the product's, and then its own
from spendhub.settings import INSTALLED_APPS as OURS

INSTALLED_APPS = [*OURS, "tests.strangers_app.apps.StrangersAppConfig"]
