"""Variables are read strictly: what is understood, and what is refused, by name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendhub.environment import Environment, WrongSetting, parse_database_url

BASE = Path("/srv/spendhub")


@pytest.fixture
def environment() -> Environment:
    return Environment(BASE)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///var/spendhub.sqlite3", "/srv/spendhub/var/spendhub.sqlite3"),
        ("sqlite:////data/a%20b.sqlite3", "/data/a b.sqlite3"),
    ],
)
def test_a_sqlite_address_is_a_file_relative_to_the_project_or_absolute(url: str, name: str) -> None:
    assert parse_database_url(url, BASE) == {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(name)}


def test_a_postgres_address_may_have_quoted_parts_and_known_options() -> None:
    url = "postgresql://ada:p%40ss%2Fword@db.example.com:5433/spend?sslmode=require&connect_timeout=3"
    assert parse_database_url(url, BASE) == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "spend",
        "USER": "ada",
        "PASSWORD": "p@ss/word",
        "HOST": "db.example.com",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require", "connect_timeout": "3"},
    }


def test_a_postgres_socket_is_named_by_its_directory() -> None:
    parsed = parse_database_url("postgres:///spend?host=/run/postgresql", BASE)
    assert (parsed["HOST"], parsed["PORT"], parsed["OPTIONS"]) == ("/run/postgresql", "", {})


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://var/x.sqlite3",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///x?mode=ro",
        "mysql://db/x",
        "spendhub.sqlite3",
        "postgres://db",
        "postgres://db/a/b",
        "postgres://db:0/x",
        "postgres://db:port/x",
        "postgres://db/x?sslmod=require",
    ],
)
def test_any_other_database_address_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(WrongSetting, match=r"^spendhub: DATABASE_URL: ") as wrong:
        Environment(BASE).database("DATABASE_URL", BASE / "x")
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("url", ["redis://cache:6379/0", "rediss://:secret@cache/1", "unix:///run/redis.sock"])
def test_a_redis_address_is_kept_as_it_is(monkeypatch: pytest.MonkeyPatch, environment: Environment, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert environment.redis("REDIS_URL") == url


@pytest.mark.parametrize("url", ["cache:6379", "http://cache", "redis://", "unix://", "redis://cache:99999"])
def test_any_other_redis_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: Environment, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(WrongSetting, match="REDIS_URL"):
        environment.redis("REDIS_URL")


def read(environment: Environment, kind: str) -> Any:
    match kind:
        case "flag":
            return environment.flag("IT", False)
        case "whole":
            return environment.whole("IT", 7, at_least=1, at_most=100)
        case "share":
            return environment.share("IT", Decimal("0.5"))
        case "usd":
            return environment.usd("IT")
        case "list":
            return environment.json("IT", list)
        case "dict":
            return environment.json("IT", dict)
        case "words":
            return environment.words("IT", ["*"])
        case "path":
            return environment.path("IT", BASE / "var")
        case "choice":
            return environment.one_of("IT", "INFO", ["INFO", "DEBUG"])
        case "address":
            return environment.ipv4_address("IT", "127.0.0.1")
        case "origins":
            return environment.origins("IT")
    return environment.text("IT")


@pytest.mark.parametrize(
    ("kind", "value", "understood"),
    [
        ("flag", "yes", True),
        ("flag", "0", False),
        ("whole", "100", 100),
        ("share", "0.01", Decimal("0.01")),
        ("usd", "2.50", 2_500_000_000),
        ("list", '[{"id": "a", "price": 0.1}]', [{"id": "a", "price": Decimal("0.1")}]),
        ("dict", '{"acme": 5}', {"acme": 5}),
        ("words", "a.example, b.example", ["a.example", "b.example"]),
        ("path", "data", BASE / "data"),
        ("path", "/data", Path("/data")),
        ("choice", "debug", "DEBUG"),
        ("text", " kept ", "kept"),
        ("address", "0.0.0.0", "0.0.0.0"),
        (
            "origins",
            "https://Spend.example.com, http://a.example:8000",
            ["https://spend.example.com", "http://a.example:8000"],
        ),
        ("origins", "https://*.example.com", ["https://*.example.com"]),
    ],
)
def test_a_value_is_understood(
    monkeypatch: pytest.MonkeyPatch, environment: Environment, kind: str, value: str, understood: object
) -> None:
    monkeypatch.setenv("IT", value)
    assert read(environment, kind) == understood
    assert environment.names == {"IT"}


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        ("flag", False),
        ("whole", 7),
        ("share", Decimal("0.5")),
        ("usd", None),
        ("list", []),
        ("words", ["*"]),
        ("origins", []),
    ],
)
def test_an_empty_value_counts_as_absent(
    monkeypatch: pytest.MonkeyPatch, environment: Environment, kind: str, default: object
) -> None:
    monkeypatch.setenv("IT", "  ")
    assert read(environment, kind) == default


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("flag", "perhaps"),
        ("whole", "0"),
        ("whole", "101"),
        ("whole", "-1"),
        ("whole", "1.5"),
        ("whole", "١"),
        ("share", "1.1"),
        ("share", "NaN"),
        ("share", "half"),
        ("usd", "-1"),
        ("usd", "Infinity"),
        ("list", "{}"),
        ("list", "[NaN]"),
        ("list", "[" * 100_000),
        ("dict", "[]"),
        ("dict", "{"),
        ("choice", "LOUD"),
        ("text", "two\nlines"),
        ("address", "spend.example.com"),
        ("address", "0.0.0"),
        ("origins", "spend.example.com"),
        ("origins", "https://spend.example.com/admin/"),
        ("origins", "https://"),
        ("origins", "ftp://spend.example.com"),
        ("origins", "https://spend.example.com:no"),
    ],
)
def test_a_wrong_value_ends_the_process_with_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, environment: Environment, kind: str, value: str
) -> None:
    monkeypatch.setenv("IT", value)
    with pytest.raises(WrongSetting) as wrong:
        read(environment, kind)
    assert isinstance(wrong.value, SystemExit)
    assert str(wrong.value).startswith("spendhub: IT: ")
    assert len(str(wrong.value).splitlines()) == 1
    assert len(str(wrong.value)) < 300


def test_a_directory_that_cannot_be_written_is_named(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WrongSetting, match="SPENDHUB_VAR_DIR"):
        environment.secret_key("NO_SUCH_VARIABLE", tmp_path / "file" / "secret_key")
