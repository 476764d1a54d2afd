"""Models that the catalog knows to be retired: never chosen, and asked with a warning where a client names one."""

from __future__ import annotations

import pytest

from tests.gateway.served import Served, pause_for_snapshots

pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.fixture
def retired(served: Served, user: str) -> str:
    """A model of the vendor's that was retired at the end of 2025."""
    name = f"{user}-retired"
    served.define_provider(name)
    served.native("POST", "models", json={"provider": name, "name": name, "retires_at": "2025-12-31T00:00:00Z"})
    served.native("POST", "prices", json={"model": name, "input": "2", "output": "10"})
    pause_for_snapshots()
    return name


def test_its_own_name_gets_it_with_a_warning(served: Served, user: str, retired: str) -> None:
    for is_stream in (False, True):
        answered = served.ask(model=retired, user=user, stream=is_stream, max_tokens=20)
        assert answered.status_code == 200
        assert answered.headers["x-spendhub-warning"] == (
            f"model '{retired}': retired on 2025-12-31 UTC, as far as the catalog knows"
        )
    assert "x-spendhub-warning" not in served.ask(user=user, max_tokens=20).headers


def test_auto_does_not_choose_it_even_where_nothing_else_is_allowed(served: Served, user: str, retired: str) -> None:
    refused = served.ask(model="auto", user=user, headers={"x-spendhub-allow": retired}, max_tokens=20)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_model_fits")
    assert refused.json()["error"]["fell_out"][0] == {"model": retired, "reason": "it was retired on 2025-12-31 UTC"}
    assert served.spans(user) == []
