"""The product's settings as the tests use them: which stores, and where they will answer.

SPENDHUB_TEST_DATABASE says on what the session runs: `sqlite` (the default: SQLite, no Redis) or
`postgres` (PostgreSQL and Valkey). This module only chooses addresses; tests/conftest.py starts the
servers. DATABASE_URL and REDIS_URL, when given, name servers to use instead of starting some.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.few_certificates import trust_one_authority
from tests.servers import free_port

TEST_DATABASE = os.environ.setdefault("SPENDHUB_TEST_DATABASE", "sqlite")
if TEST_DATABASE not in {"sqlite", "postgres"}:
    raise SystemExit(f"SPENDHUB_TEST_DATABASE: {TEST_DATABASE!r} is neither sqlite nor postgres")

# xdist's workers inherit what the first process has set: all use the same servers and directory.
if "SPENDHUB_TEST_DIR" not in os.environ:
    # Not under /tmp/pytest-of-root, which is 0700: PostgreSQL runs as another user.
    os.environ["SPENDHUB_TEST_DIR"] = tempfile.mkdtemp(prefix="spendhub-tests-")
    Path(os.environ["SPENDHUB_TEST_DIR"]).chmod(0o755)
    given_database = os.environ.pop("DATABASE_URL", "")
    if given_database.startswith("postgres"):
        os.environ["SPENDHUB_TEST_POSTGRES_URL"] = given_database
        os.environ["SPENDHUB_TEST_POSTGRES_IS_GIVEN"] = "yes"
    else:
        os.environ["SPENDHUB_TEST_POSTGRES_URL"] = f"postgres://spendhub@127.0.0.1:{free_port()}/postgres"
    given_redis = os.environ.pop("REDIS_URL", "")
    if given_redis:
        os.environ["SPENDHUB_TEST_VALKEY_URL"] = given_redis
        os.environ["SPENDHUB_TEST_VALKEY_IS_GIVEN"] = "yes"
    else:
        os.environ["SPENDHUB_TEST_VALKEY_URL"] = f"redis://127.0.0.1:{free_port()}/0"
TEST_DIR = Path(os.environ["SPENDHUB_TEST_DIR"])
trust_one_authority(TEST_DIR)


def valkey_address(room: int) -> str:
    """A database of this xdist worker's own on the session's Valkey: room 0 is the product's in this process, 1 that of
    the fixture `valkey_url`, 2 and above are those of servers (tests/gateway/conftest.py). It has 64 of them."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return f"{os.environ['SPENDHUB_TEST_VALKEY_URL'].rsplit('/', 1)[0]}/{8 * room + worker % 8}"


os.environ["SPENDHUB_VAR_DIR"] = str(TEST_DIR / "var")
if TEST_DATABASE == "postgres":
    os.environ["DATABASE_URL"] = os.environ["SPENDHUB_TEST_POSTGRES_URL"]
    os.environ["REDIS_URL"] = valkey_address(0)
else:
    os.environ["DATABASE_URL"] = f"sqlite:///{TEST_DIR / 'spendhub.sqlite3'}"
    os.environ.pop("REDIS_URL", None)

from spendhub.settings import *  # noqa: E402, F403  # the environment above must be there first
from spendhub.settings import DATABASES, STORAGES  # noqa: E402  # as above

if TEST_DATABASE == "sqlite":
    # A file, not memory: other threads and processes open it too.
    DATABASES["default"]["TEST"] = {"NAME": str(TEST_DIR / "test.sqlite3")}
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# WhiteNoise warns about a missing directory, and warnings are errors here.
(TEST_DIR / "var" / "static").mkdir(parents=True, exist_ok=True)
# Which allowed checks are stored is left to chance, one in a hundred: a test that wants some says so.
DECISION_SAMPLE = 0
