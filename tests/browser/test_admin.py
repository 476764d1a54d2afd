"""The admin in a real browser against the real server: every page, as owner and as viewer, light and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser_present import find_chromium
from tests.prepared import copy_prepared_sqlite
from tests.servers import SpendHub

# The server has a SQLite database of its own.
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.sqlite_only, pytest.mark.timeout(300)]

PASSWORD = "look-around-42"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
]
SET_PASSWORDS = (
    "from django.contrib.auth.models import User\n"
    "for user in User.objects.filter(username__startswith='demo-'):\n"
    f"    user.set_password('{PASSWORD}'); user.save()"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpendHub]:
    """A server with the demo account."""
    spendhub = SpendHub(tmp_path_factory.mktemp("browser"), {})
    copy_prepared_sqlite(spendhub.directory / "spendhub.sqlite3")
    for command in (("collectstatic", "--noinput", "-v0"), ("demo",)):
        spendhub.manage(*command)
    spendhub.manage("shell", "-c", SET_PASSWORDS)
    spendhub.start_without_migrating()
    yield spendhub
    spendhub.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield browser
        browser.close()


def sign_in(chromium: Browser, server: SpendHub, username: str, troubles: list[str], **context: Any) -> Page:
    """A page after signing in; what goes wrong on it from then on is told in `troubles`."""
    page = chromium.new_context(**context).new_page()
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: None if _is_ours(request.url, server) else troubles.append(request.url))
    page.on(
        "response", lambda answer: troubles.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )
    page.goto(f"{server.url}/admin/")
    page.fill("#id_username", username)
    page.fill("#id_password", PASSWORD)
    submit(page, "button[type=submit]")
    return page


def submit(page: Page, selector: str) -> None:
    """Clicks what leads to another page, and waits until that one has all it asks for."""
    with page.expect_navigation(wait_until="networkidle"):
        page.click(selector)


def _is_ours(url: str, server: SpendHub) -> bool:
    return url.startswith((server.url, "data:", "blob:"))


def sidebar(page: Page) -> list[str]:
    links = page.eval_on_selector_all("#nav-sidebar a[href^='/admin/']", "links => links.map(link => link.pathname)")
    return list(dict.fromkeys(links))


@pytest.mark.parametrize(("username", "page_count"), [("demo-maya", 23), ("demo-tomas", 19)])
def test_every_page_opens_without_an_error_or_a_foreign_host(
    server: SpendHub, chromium: Browser, username: str, page_count: int
) -> None:
    troubles: list[str] = []
    page = sign_in(chromium, server, username, troubles)
    pages = [path for path in sidebar(page) if not path.startswith(("/admin/account/", "/admin/password"))]
    assert len(pages) == page_count
    for path in pages:
        page.goto(server.url + path)
        row = page.query_selector("#result_list tbody a")
        if row is not None:
            page.goto(server.url + str(row.get_attribute("href")).split("?")[0])
        if path != "/admin/" and username == "demo-maya":
            page.goto(server.url + path)
            add = page.query_selector(f"a[href^='{path}add/']")
            if add is not None:
                page.goto(server.url + path + "add/")
    # What the last page still asks for, and whatever the others had to say.
    page.wait_for_load_state("networkidle")
    assert troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(server: SpendHub, chromium: Browser, scheme: str) -> None:
    troubles: list[str] = []
    page = sign_in(chromium, server, "demo-maya", troubles, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    for path in ("/admin/", "/admin/budgets/budget/", "/admin/budgets/budget/add/", "/admin/telemetry/costspan/"):
        page.goto(server.url + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    assert troubles == []


def test_a_phone_shows_the_whole_title_of_a_list(server: SpendHub, chromium: Browser) -> None:
    page = sign_in(chromium, server, "demo-maya", [], viewport={"width": 390, "height": 844})
    for path, title in (
        ("routing/route", "Routes"), ("routing/credential", "Vendor keys"), ("telemetry/brakestop", "Brake stops"),
    ):  # fmt: skip
        page.goto(f"{server.url}/admin/{path}/")
        page.wait_for_load_state("networkidle")
        assert page.inner_text("#header-inner h1").strip() == title
        cut_off = "[...document.querySelectorAll('#header-inner h1, #header-inner h1 *')].filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth)"
        assert page.evaluate(f"{cut_off}.length") == 0, path


# What is cut off: the page itself, or a box on it that can be pushed sideways.
TOO_WIDE = (
    "[document.documentElement, ...document.querySelectorAll('.sh-scroll, .simplebar-content-wrapper')]"
    ".filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.className)"
)


@pytest.mark.parametrize("width", [390, 1200, 1280])
def test_nothing_is_cut_off(server: SpendHub, chromium: Browser, width: int) -> None:
    troubles: list[str] = []
    page = sign_in(chromium, server, "demo-maya", troubles, viewport={"width": width, "height": 900})
    for path in (
        "/admin/routing/model/add/", "/admin/routing/price/", "/admin/routing/provider/",
        "/admin/routing/provider/health/?all=1", "/admin/telemetry/costspan/savings/", "/admin/telemetry/feedback/",
        "/admin/telemetry/costspan/performance/",
    ):  # fmt: skip
        page.goto(server.url + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate(TOO_WIDE) == [], path
    page.goto(f"{server.url}/admin/budgets/decision/")
    submit(page, "#result_list tbody a")
    assert page.evaluate(TOO_WIDE) == []
    assert troubles == []


def test_an_owner_makes_a_budget_and_freezes_it(server: SpendHub, chromium: Browser, tmp_path: Path) -> None:
    troubles: list[str] = []
    page = sign_in(chromium, server, "demo-maya", troubles)
    page.goto(f"{server.url}/admin/budgets/budget/add/")
    page.fill("#id_name", "Weekly ceiling")
    page.fill("#id_limit_nano_usd", "12.50")
    page.select_option("#id_period", "week")
    submit(page, "button[name=_continue]")
    assert page.input_value("#id_limit_nano_usd") == "12.50"
    submit(page, "a[href$='/freeze/']")
    submit(page, "button:has-text('Freeze it')")
    assert "is frozen" in page.inner_text("body")
    assert troubles == []
