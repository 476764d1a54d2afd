"""A shared model that an account has switched off by a model of its own is asked under none of its names."""

from __future__ import annotations

import pytest

from tests.gateway.served import Served, pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_no_name_of_the_shared_model_leads_to_it_any_more(served: Served, user: str, is_elsewhere: bool) -> None:
    vendor = {"base_url": served.vendor.base_url, "api_key_env": "VENDOR_KEY", "dialect": "openai"}
    prices = [{"input": "900", "output": "900"}]
    served.enter_catalog(
        providers=[{"name": user, **vendor}],
        models=[{"provider": user, "name": f"{user}-m", "aliases": [f"{user}-a"], "prices": prices}],
    )
    names = (f"{user}-m", f"{user}-a", f"{user}-A", f"{user}/{user}-m")
    assert [served.ask(model=name, user=user, max_tokens=5).status_code for name in names] == [200] * 4
    if is_elsewhere:
        served.define_provider(f"{user}-own")
    own = f"{user}-own" if is_elsewhere else user
    served.native("POST", "models", json={"provider": own, "name": f"{user}-m", "is_enabled": False})
    pause_for_snapshots()
    answers = [served.ask(model=name, user=user, max_tokens=5) for name in names]
    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [(404, "model_not_found")] * 4
    assert len(served.spans(user)) == 4
