"""Feedback, kept answers and brakes in the admin: seen by the account, edited by its admins, resumed with a button."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from spendhub.tenants.models import Change, Tenant
from telemetry.models import Brake, BrakeStop, CostSpan, Feedback, ResponseCacheRule

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

TYPED_BRAKE = {
    "name": "Loops", "scope_type": "caller", "within_seconds": "300", "repeats": "5", "compares": "whole",
    "spend_factor": "", "spend_least_nano_usd": "2.50", "action": "pause", "slow_seconds": "2", "pause_seconds": "",
    "is_enabled": "on",
}  # fmt: skip


def stop_of(tenant: Tenant) -> BrakeStop:
    brake = Brake.objects.create(tenant=tenant, name="Loops", action="pause")
    return BrakeStop.objects.create(
        tenant=tenant, brake=brake, brake_name="Loops", scope_type="session", scope_key="s-4711", cause="repeats",
        action="pause", reason="the same request 6 times within 300 s", since=timezone.now(),
    )  # fmt: skip


def test_an_admin_makes_a_brake_and_its_amount_is_typed_in_dollars(acme: Tenant, browser_of: BrowserOf) -> None:
    answer = browser_of("adam").post("/admin/telemetry/brake/add/", TYPED_BRAKE)
    assert answer.status_code == 302, answer.context["errors"]
    brake = Brake.objects.for_tenant(acme).get()
    assert (brake.repeats, brake.spend_factor, brake.spend_least_nano_usd) == (5, None, 2_500_000_000)
    assert b"more than 5 times the same within 300 s" in browser_of("ben").get("/admin/telemetry/brake/").content
    answer = browser_of("adam").post("/admin/telemetry/brake/add/", TYPED_BRAKE)
    assert b"There is a brake of that name already." in answer.content


def test_a_brake_must_say_what_is_too_much(acme: Tenant, browser_of: BrowserOf) -> None:
    answer = browser_of("adam").post("/admin/telemetry/brake/add/", TYPED_BRAKE | {"repeats": ""})
    assert b"how much spend, or both" in answer.content
    assert not Brake.objects.for_tenant(acme).exists()


def test_a_stop_is_resumed_with_a_button(acme: Tenant, browser_of: BrowserOf) -> None:
    stop = stop_of(acme)
    browser, page = browser_of("adam"), f"/admin/telemetry/brakestop/{stop.pk}/change/"
    assert b"s-4711" in browser.get("/admin/telemetry/brakestop/?in_force=yes").content
    assert b"s-4711" not in browser.get("/admin/telemetry/brakestop/?in_force=no").content
    assert b"Resume" in browser.get(page).content
    address = f"/admin/telemetry/brakestop/{stop.pk}/resume/"
    assert b">Let session: s-4711 go on?</h2>" in browser.get(address).content
    stop.refresh_from_db()
    assert stop.is_open  # looking changes nothing
    assert browser.post(address).status_code == 302
    stop.refresh_from_db()
    assert (stop.is_open, stop.resumed_by) == (False, "user:adam")
    assert Change.objects.for_tenant(acme).filter(action="resume", actor="user:adam").count() == 1
    assert browser.post(address).status_code == 302  # once more changes nothing
    assert Change.objects.for_tenant(acme).filter(action="resume").count() == 1


STOPS = "/admin/telemetry/brakestop/"


def test_a_stop_is_resumed_from_the_list_with_one_click(acme: Tenant, browser_of: BrowserOf) -> None:
    stop, browser = stop_of(acme), browser_of("adam")
    button = f'formaction="{STOPS}{stop.pk}/resume/"'
    page = browser.get(STOPS).content.decode()
    # It stands in the list's own form, which has the token.
    form = page[page.index('<form id="changelist-form"') :].split("</form>")[0]
    assert button in form and "csrfmiddlewaretoken" in form and 'method="post"' in form
    answer = browser.post(f"{STOPS}{stop.pk}/resume/", {"from_list": "1"}, follow=True)
    assert answer.redirect_chain == [(STOPS, 302)]
    assert "Resumed: calls pass again, and the brake counts anew." in answer.content.decode()
    assert button not in answer.content.decode()
    stop.refresh_from_db()
    assert (stop.is_open, stop.resumed_by) == (False, "user:adam")


def test_the_button_of_the_list_is_for_those_who_may_resume(acme: Tenant, browser_of: BrowserOf) -> None:
    stop_of(acme)
    page = browser_of("ben").get(STOPS).content.decode()
    assert "s-4711" in page and "formaction" not in page


@pytest.mark.parametrize("over", ["ended", "brake off", "brake gone"])
def test_a_stop_that_is_over_offers_no_button(acme: Tenant, browser_of: BrowserOf, over: str) -> None:
    stop = stop_of(acme)
    if over == "ended":
        BrakeStop.objects.for_tenant(acme).update(ends_at=timezone.now() - timedelta(seconds=1))
    elif over == "brake off":
        Brake.objects.for_tenant(acme).update(is_enabled=False)
    else:
        BrakeStop.objects.for_tenant(acme).update(brake=None)
    browser = browser_of("adam")
    for address in (STOPS, f"{STOPS}{stop.pk}/change/"):
        page = browser.get(address).content.decode()
        assert ">Over<" in page.replace("\n", "").replace("  ", "")
        assert f"{stop.pk}/resume/" not in page


@pytest.mark.parametrize("who", ["ben", "ann"])
def test_who_may_not_edit_may_not_resume(acme: Tenant, browser_of: BrowserOf, who: str) -> None:
    stop = stop_of(acme)
    browser = browser_of(who)
    assert browser.get(f"/admin/telemetry/brakestop/{stop.pk}/change/").status_code == 200
    assert browser.post(f"/admin/telemetry/brakestop/{stop.pk}/resume/").status_code == 403
    stop.refresh_from_db()
    assert stop.is_open


def test_a_stranger_finds_neither_the_stop_nor_its_button(acme: Tenant, globex: Tenant, browser_of: BrowserOf) -> None:
    stop = stop_of(acme)
    browser = browser_of("gil")
    assert b"s-4711" not in browser.get("/admin/telemetry/brakestop/").content
    assert browser.post(f"/admin/telemetry/brakestop/{stop.pk}/resume/").status_code == 404
    stop.refresh_from_db()
    assert stop.is_open


def test_an_admin_lets_a_features_answers_be_given_again(acme: Tenant, browser_of: BrowserOf) -> None:
    typed = {"feature": "faq", "ttl_seconds": "3600", "is_enabled": "on"}
    browser = browser_of("adam")
    answer = browser.post("/admin/telemetry/responsecacherule/add/", typed)
    assert answer.status_code == 302, answer.context["errors"]
    rule = ResponseCacheRule.objects.for_tenant(acme).get()
    assert rule.ttl_seconds == 3600
    too_long = browser.post(
        "/admin/telemetry/responsecacherule/add/", typed | {"feature": "x", "ttl_seconds": "604801"}
    )
    assert too_long.status_code == 200
    assert browser_of("ben").post("/admin/telemetry/responsecacherule/add/", typed).status_code == 403
    answer = browser.post(f"/admin/telemetry/responsecacherule/{rule.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    assert not ResponseCacheRule.objects.for_tenant(acme).exists()


def test_what_kept_answers_have_saved_stands_beside_their_rule(
    acme: Tenant, globex: Tenant, browser_of: BrowserOf
) -> None:
    now = timezone.now()
    counted = ((acme, "faq", 2.5, 1), (acme, "faq", 1.25, 29))
    for tenant, feature, dollars, days in (
        *counted, (acme, "faq", 100, 31), (acme, "other", 100, 1), (globex, "faq", 100, 1),
    ):  # fmt: skip
        CostSpan.objects.create(
            tenant=tenant, request_id=uuid.uuid4().hex, occurred_at=now - timedelta(days=days), recorded_at=now,
            source="gateway", cost_nano_usd=0, feature=feature,
            metadata={"cache": "hit", "saved_nano_usd": int(dollars * 10**9)},
        )  # fmt: skip
    ResponseCacheRule.objects.create(tenant=acme, feature="faq")
    page = browser_of("ben").get("/admin/telemetry/responsecacherule/").content.decode()
    assert "Saved in 30 days" in page and "$3.75" in page


def test_a_rule_for_every_feature_says_so_and_has_saved_what_no_other_rule_has(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    now = timezone.now()
    for feature, dollars in (("faq", 1), ("news", 2), ("support", 4), ("", 8)):
        CostSpan.objects.create(
            tenant=acme, request_id=uuid.uuid4().hex, occurred_at=now, recorded_at=now, source="gateway",
            cost_nano_usd=0, feature=feature, metadata={"cache": "hit", "saved_nano_usd": dollars * 10**9},
        )  # fmt: skip
    ResponseCacheRule.objects.create(tenant=acme, feature="faq")
    ResponseCacheRule.objects.create(tenant=acme, feature="*")
    page = browser_of("ben").get("/admin/telemetry/responsecacherule/").content.decode()
    assert "Every feature without a rule of its own" in page and "$6.00" in page
    form = browser_of("adam").get("/admin/telemetry/responsecacherule/add/").content.decode()
    assert "* is every feature without a rule of its own" in form


def test_feedback_is_shown_beside_what_its_call_cost(acme: Tenant, globex: Tenant, browser_of: BrowserOf) -> None:
    now = timezone.now()
    span = CostSpan.objects.create(
        tenant=acme, request_id=uuid.uuid4().hex, occurred_at=now, recorded_at=now, source="gateway",
        cost_nano_usd=1_234_000_000, model="small",
    )  # fmt: skip
    row = Feedback.objects.create(
        tenant=acme, span=span, at=now, thumbs="down", overall=1.5, clarity=4, comment="beside the point"
    )
    for address in ("/admin/telemetry/feedback/", f"/admin/telemetry/feedback/{row.pk}/change/"):
        shown = browser_of("ben").get(address).content
        assert b"$1.23" in shown
        assert b"1.5" in shown
    assert b"clarity 4" in shown
    assert b"$1.23" not in browser_of("gil").get("/admin/telemetry/feedback/").content
    assert browser_of("gil").get(f"/admin/telemetry/feedback/{row.pk}/change/").status_code != 200
