"""The product's settings with one more route: a bare Django JSON view, to be measured in the same server."""

from spendhub.settings import *  # noqa: F403  # a settings module is all of the other's names

ROOT_URLCONF = "bench.bare_urls"
