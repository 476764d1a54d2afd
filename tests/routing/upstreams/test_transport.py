"""What a client is told of an address that does not answer."""

from __future__ import annotations

import asyncio

import pytest

from routing.errors import UpstreamError
from routing.upstreams.base import UpstreamRequest
from routing.upstreams.transport import HttpTransport


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/model/arn:aws:bedrock:eu:1:profile/x/converse",
        "/openai/deployments/secret?api-version=1",
    ],
)
def test_it_is_told_the_host_alone(path: str) -> None:
    async def send() -> None:
        transport = HttpTransport()
        try:
            await transport.send(UpstreamRequest("POST", f"http://ada:hidden@127.0.0.1:9{path}", {}, b"{}", 5))
        finally:
            await transport.aclose()

    with pytest.raises(UpstreamError) as failed:
        asyncio.run(send())
    assert failed.value.message.startswith("127.0.0.1:9 cannot be reached")
