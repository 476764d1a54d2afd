"""Reads the environment strictly: every variable is typed, and a wrong value stops the start.

A wrong value raises WrongSetting, a SystemExit whose single line names the variable and what was
expected. docs/settings.md lists every variable that is read here; a house rule compares the two.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from environs import Env, EnvError

from spendhub.errors import InvalidMoney
from spendhub.money import parse_usd

Value = TypeVar("Value")

DATABASE_EXAMPLES = "sqlite:///var/spendhub.sqlite3 or postgres://user:password@host:5432/name"
POSTGRES_OPTIONS = {"sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "host"}
REDIS_SCHEMES = {"redis", "rediss", "unix"}


class WrongSetting(SystemExit):
    """A variable has a value we cannot use; printing it ends the process with one line."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"spendhub: {name}: {' '.join(problem.split())}")
        self.name = name


class Environment:
    """Typed reads of environment variables. A variable that is set but empty counts as absent."""

    def __init__(self, base_dir: Path) -> None:
        self._env = Env()
        self._base_dir = base_dir
        self.names: set[str] = set()

    def _read(self, name: str, default: Value, parse: Callable[[str], Value]) -> Value:
        self.names.add(name)
        raw: str = self._env.str(name, "") or ""
        if not raw.strip():
            return default
        try:
            return parse(raw.strip())
        except (ValueError, EnvError, InvalidMoney) as error:
            raise WrongSetting(name, str(error)) from None

    def text(self, name: str, default: str = "") -> str:
        """Any text without control characters."""

        def parse(raw: str) -> str:
            if any(ord(character) < 32 for character in raw):
                raise ValueError("has control characters")
            return raw

        return self._read(name, default, parse)

    def flag(self, name: str, default: bool) -> bool:
        """yes or no, in the spellings environs knows (true, 1, on, yes ...)."""

        def parse(raw: str) -> bool:
            try:
                return bool(self._env.bool(name))
            except EnvError:
                raise ValueError(f"{raw[:40]!r} is neither true nor false") from None

        return self._read(name, default, parse)

    def whole(self, name: str, default: int, *, at_least: int, at_most: int) -> int:
        """A whole number within bounds, both included."""

        def parse(raw: str) -> int:
            expected = f"{raw[:40]!r} is no whole number from {at_least} to {at_most}"
            if not raw.isascii() or not raw.isdigit() or len(raw) > 18 or not at_least <= int(raw) <= at_most:
                raise ValueError(expected)
            return int(raw)

        return self._read(name, default, parse)

    def share(self, name: str, default: Decimal) -> Decimal:
        """A decimal from 0 to 1."""

        def parse(raw: str) -> Decimal:
            try:
                value = Decimal(raw)
            except InvalidOperation:
                value = Decimal(-1)
            if not value.is_finite() or not 0 <= value <= 1:
                raise ValueError(f"{raw[:40]!r} is no decimal from 0 to 1")
            return value

        return self._read(name, default, parse)

    def one_of(self, name: str, default: str, choices: Iterable[str]) -> str:
        """One of a few words, whatever the case."""
        known = list(choices)

        def parse(raw: str) -> str:
            for choice in known:
                if choice.lower() == raw.lower():
                    return choice
            raise ValueError(f"{raw[:40]!r} is none of {', '.join(known)}")

        return self._read(name, default, parse)

    def words(self, name: str, default: list[str]) -> list[str]:
        """Words between commas."""
        return self._read(name, default, lambda raw: [word.strip() for word in raw.split(",") if word.strip()])

    def ipv4_address(self, name: str, default: str) -> str:
        """An IPv4 address in figures."""

        def parse(raw: str) -> str:
            try:
                return str(IPv4Address(raw))
            except ValueError:
                raise ValueError(f"{raw[:40]!r} is no IPv4 address such as 127.0.0.1, or 0.0.0.0 for all") from None

        return self._read(name, default, parse)

    def origins(self, name: str) -> list[str]:
        """Origins between commas: scheme, host, and the port if it is not the usual; all in small letters."""

        def parse(raw: str) -> list[str]:
            origins = [word.strip().lower() for word in raw.split(",") if word.strip()]
            for origin in origins:
                if not _is_origin(origin):
                    raise ValueError(f"{origin[:60]!r} is no origin such as https://spend.example.com")
            return origins

        return self._read(name, [], parse)

    def usd(self, name: str) -> int | None:
        """An amount of USD, in nano_usd; None when absent."""
        return self._read(name, None, lambda raw: parse_usd(raw))

    def json(self, name: str, shape: type[Value]) -> Value:
        """JSON whose outermost value is a `shape` (list or dict); an empty one when absent."""

        def parse(raw: str) -> Value:
            try:
                value = json.loads(raw, parse_float=Decimal, parse_constant=_refuse_constant)
            except json.JSONDecodeError as error:
                raise ValueError(f"is no JSON: {error}") from None
            except RecursionError:
                raise ValueError("is nested too deeply") from None
            if not isinstance(value, shape):
                expected = "an array" if shape is list else "an object"
                raise ValueError(f"must be {expected} of JSON, not {raw[:40]!r}")
            return value

        return self._read(name, shape(), parse)

    def path(self, name: str, default: Path) -> Path:
        """A path; a relative one starts at the project's directory."""
        return self._read(name, default, lambda raw: self._base_dir / Path(raw).expanduser())

    def database(self, name: str, default: Path) -> dict[str, Any]:
        """DATABASE_URL as Django's ENGINE, NAME, ... (no OPTIONS but those in the URL)."""
        return self._read(
            name,
            {"ENGINE": "django.db.backends.sqlite3", "NAME": default},
            lambda raw: parse_database_url(raw, self._base_dir),
        )

    def redis(self, name: str) -> str | None:
        """REDIS_URL, checked for shape only: whether it answers is a system check's business."""

        def parse(raw: str) -> str:
            parts = urlsplit(raw)
            has_place = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname)
            if parts.scheme not in REDIS_SCHEMES or not has_place or not _port_is_possible(parts):
                raise ValueError("expected redis://host:6379/0, rediss://... or unix:///path/to/socket")
            return raw

        return self._read(name, None, parse)

    def fernet_keys(self, name: str) -> list[str]:
        """Fernet keys between commas; the message for a wrong one never repeats it."""

        def parse(raw: str) -> list[str]:
            keys = [word.strip() for word in raw.split(",") if word.strip()]
            for position, key in enumerate(keys, start=1):
                if not _is_fernet_key(key):
                    raise ValueError(f"key {position} is no Fernet key; `manage.py credentials new-key` makes one")
            return keys

        return self._read(name, [], parse)

    def secret_key(self, name: str, file: Path) -> str:
        """The secret given, else the one in `file`, made once and readable by its owner only."""
        return self.text(name) or remembered_secret(file)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, altchars=b"-_", validate=True)) == 32
    except ValueError:
        return False


def _is_origin(text: str) -> bool:
    parts = urlsplit(text)
    is_bare = text == f"{parts.scheme}://{parts.netloc}"
    return is_bare and parts.scheme in {"http", "https"} and bool(parts.hostname) and _port_is_possible(parts)


def _port_is_possible(parts: Any) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def parse_database_url(url: str, base_dir: Path) -> dict[str, Any]:
    """`sqlite:///file` or `postgres://...` as Django settings; raises ValueError saying what is wrong.

    sqlite:///relative/file starts at `base_dir`, sqlite:////absolute/file does not. The message
    never repeats the URL, which may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        if parts.netloc or parts.query or len(parts.path) < 2:
            raise ValueError(f"expected three slashes and a file, as in {DATABASE_EXAMPLES}")
        if ":memory:" in parts.path:
            raise ValueError("several processes share the database, so it must be a file")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": base_dir / unquote(parts.path[1:])}
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValueError(f"unknown kind {parts.scheme[:20]!r}, expected {DATABASE_EXAMPLES}")
    name = unquote(parts.path[1:])
    if not name or "/" in name or not _port_is_possible(parts):
        raise ValueError(f"expected one database name and a port from 1 to 65535, as in {DATABASE_EXAMPLES}")
    options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - POSTGRES_OPTIONS)
    if unknown:
        raise ValueError(f"unknown option {unknown[0][:40]!r}; known are {', '.join(sorted(POSTGRES_OPTIONS))}")
    host = options.pop("host", "") or unquote(parts.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }


def remembered_secret(file: Path) -> str:
    """The secret in `file`; the first to ask makes it, mode 0600. Several processes may ask at once."""
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_name(f".{file.name}.{os.getpid()}")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(50) + "\n")
            try:
                os.link(fresh, file)  # atomic and never replaces: the first process wins
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        except OSError as error:
            raise WrongSetting("SPENDHUB_VAR_DIR", f"cannot keep the secret key in it: {error}") from None
    return file.read_text().strip()
