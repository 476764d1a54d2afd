"""Rules of the house that a machine can hold. A defect that slipped through leaves a rule behind."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from spendhub.errors import SpendHubError

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("spendhub", "routing", "budgets", "telemetry")
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "handler", "handlers", "services"}
FORBIDDEN_NAMES |= {"service", "common", "misc"}
# Where Django's own machinery needs rows of all tenants.
MAY_BE_UNSCOPED = re.compile(r"(^|/)(models(/.*)?|admin|admin_\w+|.*_admin|admin/.*)\.py$|/migrations/")
# The data plane's path: snapshots and counters only. Cold paths go through an app's named function.
HOT_PATH = "spendhub/gateway"


def product_files() -> list[Path]:
    """Every Python file of the product, without migrations."""
    files = [file for room in ROOMS for file in (PROJECT / room).rglob("*.py")]
    return [file for file in files if "migrations" not in file.parts]


def name_of(file: Path) -> str:
    return file.relative_to(PROJECT).as_posix()


def test_no_module_has_a_name_that_says_nothing() -> None:
    rooms = [*product_files(), *(PROJECT / "tests").rglob("*.py")]
    assert [name_of(file) for file in rooms if {file.stem, *file.relative_to(PROJECT).parts} & FORBIDDEN_NAMES] == []


def test_every_module_says_what_it_is_for() -> None:
    def needs_words(file: Path) -> bool:
        tree = ast.parse(file.read_text())
        return len(tree.body) > 0 and file.stem != "apps" and ast.get_docstring(tree) is None

    assert [name_of(file) for file in product_files() if needs_words(file)] == []


def test_every_lua_script_has_a_header() -> None:
    scripts = sorted((PROJECT / "budgets").rglob("*.lua"))
    assert scripts
    for script in scripts:
        head = script.read_text()[:2000]
        assert head.startswith("--"), f"{name_of(script)}: begins with a comment that says what it does"
        for word in ("KEYS", "ARGV"):
            if word in script.read_text():
                assert re.search(rf"^--.*{word}", head, re.MULTILINE), f"{name_of(script)}: its header explains {word}"


def error_classes(root: type[SpendHubError] = SpendHubError) -> Iterator[type[SpendHubError]]:
    for child in root.__subclasses__():
        yield child
        yield from error_classes(child)


def test_every_error_code_is_documented() -> None:
    from django.urls import get_resolver

    import spendhub.asgi

    assert spendhub.asgi and get_resolver().url_patterns  # everything that raises is imported
    documented = (PROJECT / "docs/errors.md").read_text()
    codes = {error.code for error in error_classes() if error.__module__.split(".")[0] in ROOMS}
    assert {code for code in codes if f"`{code}`" not in documented} == set()


def test_every_header_of_ours_is_documented_where_its_users_look() -> None:
    from spendhub.gateway.our_headers import DEMANDS

    pages = {name: (PROJECT / "docs" / name).read_text() for name in ("gateway.md", "api.md")}
    missing = {f"{name} in gateway.md" for name in DEMANDS if f"`{name}`" not in pages["gateway.md"]}
    for file in product_files():
        page = "api.md" if name_of(file).startswith("spendhub/api/") else "gateway.md"
        headers = set(re.findall(r"x-spendhub-[a-z-]*[a-z]", file.read_text()))
        missing |= {f"{header} in {page}" for header in headers if not re.search(rf"{header}(?![a-z-])", pages[page])}
    assert missing == set()


def test_every_error_of_the_gateway_is_told_of_on_its_page() -> None:
    import spendhub.asgi

    assert spendhub.asgi  # everything that raises is imported
    page = (PROJECT / "docs/gateway.md").read_text()
    gateways = {error.code for error in error_classes() if error.__module__.startswith(HOT_PATH.replace("/", "."))}
    assert {code for code in gateways | {"call_paused"} if f"`{code}`" not in page} == set()


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    from spendhub.settings import ENVIRONMENT

    documented = set(re.findall(r"^\| `([A-Z_]+)`", (PROJECT / "docs/settings.md").read_text(), re.MULTILINE))
    assert documented == ENVIRONMENT.names


def test_rows_are_reached_through_their_tenant() -> None:
    def reaches_around(file: Path) -> bool:
        return bool(re.search(r"\bunscoped\b", file.read_text()))

    files = [file for file in product_files() if not MAY_BE_UNSCOPED.search(name_of(file))]
    files = [file for file in files if name_of(file) != "spendhub/tenants/scoping.py"]
    assert [name_of(file) for file in files if reaches_around(file)] == []


def test_the_data_plane_touches_no_rows() -> None:
    for file in (PROJECT / HOT_PATH).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            imported = []
            if isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            elif isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            for module in imported:
                is_orm = module.startswith("django.db") or re.fullmatch(r"(\w+|spendhub\.tenants)\.models", module)
                assert not is_orm, f"{name_of(file)} line {node.lineno} imports {module}"


def test_a_switched_off_check_says_why() -> None:
    comment = re.compile(r"#\s*(noqa|type: ignore|pragma: no)[^#\n]*(#.*)?$", re.MULTILINE)
    mute = []
    for file in [*product_files(), *(PROJECT / "tests").rglob("*.py"), *(PROJECT / "bench").rglob("*.py")]:
        if file == Path(__file__):
            continue
        mute += [f"{name_of(file)}: {match[0]}" for match in comment.finditer(file.read_text()) if not match[2]]
    assert mute == []


def test_nothing_reaches_for_the_network_when_installing() -> None:
    for lock in PROJECT.glob("requirements*.lock"):
        text = lock.read_text()
        assert not re.search(r"https?://|file:/|--index-url|--find-links", text), f"{lock.name} names a registry"


@pytest.mark.parametrize("kind", ["TODO", "FIXME", "XXX"])
def test_nothing_is_left_for_later_in_silence(kind: str) -> None:
    assert [name_of(file) for file in product_files() if re.search(rf"\b{kind}\b", file.read_text())] == []
