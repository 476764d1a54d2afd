"""`make run`: prepares whatever is not prepared yet, then serves.

`python -m spendhub.first_run` does each step only when what it depends on has changed, so the first
run takes half a minute and the next ones a second. It keeps data, and never sets a password twice.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ADMIN_NAME = "admin"


def main() -> int:
    """Runs the steps and then the server, whose exit code it answers."""
    os.chdir(PROJECT)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spendhub.settings")
    import django  # only now: importing it reads the settings, which may stop us with one line

    django.setup()
    from django.conf import settings
    from django.core.management import call_command, get_commands

    from spendhub.management.commands.serve import address_to_show

    stamps = Path(settings.VAR_DIR) / "prepared"
    stamps.mkdir(parents=True, exist_ok=True)
    sources = list(PROJECT.glob("*/migrations/*.py")) + list(PROJECT.glob("*/*/migrations/*.py"))
    # The database's address belongs to the stamp: another database is not prepared yet.
    database = hashlib.sha256(repr(settings.DATABASES["default"]).encode()).hexdigest()
    if _is_stale(stamps / "database", sources, database):
        with _Step("database"):
            call_command("migrate", verbosity=0, interactive=False)
        _stamp(stamps / "database", sources, database)
    statics = static_sources(PROJECT)
    if _is_stale(stamps / "static", statics):
        with _Step("styles and scripts"):
            call_command("collectstatic", verbosity=0, interactive=False, clear=False)
        _stamp(stamps / "static", statics)
    catalog = [*PROJECT.glob("routing/data/*"), PROJECT / "requirements.lock"]
    configured = database + repr(settings.ROUTER_CONFIG_MODELS)
    if "catalog" in get_commands() and _is_stale(stamps / "catalog", catalog, configured):
        with _Step("catalog of models and prices"):
            said = io.StringIO()
            call_command("catalog", "update", stdout=said)
        print(f"    {(said.getvalue().strip().splitlines() or ['no changes'])[-1]}", flush=True)
        _stamp(stamps / "catalog", catalog, configured)
    lines = _make_admin()
    if _is_stale(stamps / "demo", [], database) and "demo" in get_commands():
        with _Step("demo tenant with a month of sample spend"):
            key = _make_demo()
        _stamp(stamps / "demo", [], database)
        if key:
            lines.append(f"  API key   {key}")
    if lines:
        print("\nShown once, so keep them:", *lines, sep="\n")
    address = address_to_show(settings.SPENDHUB_HOST, settings.PORT)
    print(f"\n  Admin     {address}/admin/\n  API docs  {address}/api/docs/\n", flush=True)
    os.execv(sys.executable, [sys.executable, "manage.py", "serve"])


def static_sources(project: Path) -> list[Path]:
    """What collected styles and scripts depend on: the packages' lock, and the `static` folders of our own packages.

    Not `static` in SPENDHUB_VAR_DIR: it is what collecting makes."""
    folders = [*project.glob("*/static"), *project.glob("*/*/static")]
    ours = [folder for folder in folders if (folder.parent / "__init__.py").exists()]
    return [project / "requirements.lock", *(file for folder in ours for file in folder.rglob("*"))]


def _make_admin() -> list[str]:
    """Makes the first superuser with a generated password; the lines to show, none when there is one already."""
    from django.contrib.auth.models import User

    if User.objects.filter(is_superuser=True).exists():
        return []
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser(ADMIN_NAME, password=password)
    return [f"  Login     {ADMIN_NAME}", f"  Password  {password}"]


def _make_demo() -> str:
    """Runs `manage.py demo`, which prints the demo tenant's API key alone on its last line."""
    done = subprocess.run([sys.executable, "manage.py", "demo"], stdout=subprocess.PIPE, text=True, check=True)
    lines = done.stdout.strip().splitlines()
    return lines[-1].strip() if lines and lines[-1].startswith("sh_") else ""


class _Step:
    """Says what is being prepared, and how long it took."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        print(f"==> {self._name} ...", end=" ", flush=True)
        self._started = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        print("failed" if kind else f"done in {time.monotonic() - self._started:.1f} s", flush=True)


def _fingerprint(files: Iterable[Path], extra: str) -> str:
    digest = hashlib.sha256(extra.encode())
    for file in sorted(files):
        if file.is_file():
            digest.update(str(file.relative_to(PROJECT)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _is_stale(stamp: Path, files: Iterable[Path], extra: str = "") -> bool:
    return not stamp.exists() or stamp.read_text() != _fingerprint(files, extra)


def _stamp(stamp: Path, files: Iterable[Path], extra: str = "") -> None:
    stamp.write_text(_fingerprint(files, extra))


if __name__ == "__main__":
    sys.exit(main())
