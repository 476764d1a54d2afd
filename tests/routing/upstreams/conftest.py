"""The vendors, started once for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.routing.upstreams.vendors import FAKES, Spoken, spoken


@pytest.fixture(autouse=True)
def vendor_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", "sk-fake")


@pytest.fixture(scope="module", params=list(FAKES))
def vendor(request: pytest.FixtureRequest) -> Iterator[Spoken]:
    """Every dialect in turn, in each of its ways."""
    with spoken(request.param) as fake:
        yield Spoken(request.param, fake)


@pytest.fixture(scope="module", params=[name for name, fake in FAKES.items() if fake is not None])
def remote(request: pytest.FixtureRequest) -> Iterator[Spoken]:
    """Every dialect with a vendor outside, in turn, in each of its ways."""
    with spoken(request.param) as fake:
        yield Spoken(request.param, fake)


@pytest.fixture(scope="module")
def anthropic() -> Iterator[Spoken]:
    with spoken("anthropic") as fake:
        yield Spoken("anthropic", fake)


@pytest.fixture(scope="module")
def gemini() -> Iterator[Spoken]:
    with spoken("gemini") as fake:
        yield Spoken("gemini", fake)


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Spoken]:
    with spoken("bedrock") as fake:
        yield Spoken("bedrock", fake)


@pytest.fixture(scope="module")
def openai() -> Iterator[Spoken]:
    with spoken("openai") as fake:
        yield Spoken("openai", fake)
