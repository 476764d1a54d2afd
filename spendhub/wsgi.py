"""The web plane alone: Django as plain WSGI. `serve --plane web` runs it, for those with a proxy in front."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spendhub.settings")
django_application = get_wsgi_application()

from spendhub.health import answer_health_first  # noqa: E402  # models may be imported only after Django's set-up
from spendhub.processes import die_with_parent, start_background_threads  # noqa: E402  # as above

application = answer_health_first(django_application)
if os.environ.get("SPENDHUB_IS_SUPERVISED"):
    die_with_parent()
    start_background_threads()
