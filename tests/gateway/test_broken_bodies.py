"""A body that breaks off, or comes in chunks that are none, is the client's error, told as such: SDKs repeat a 500."""

from __future__ import annotations

import socket

import httpx
import pytest

from tests.gateway.error_shapes import Shape, anthropics, googles, openais, recipes
from tests.gateway.served import Served

PATHS: dict[str, Shape] = {
    "/v1/chat/completions": openais,
    "/v1/messages": anthropics,
    "/v1beta/models/vendor-chat:generateContent": googles,
    "/api/router": recipes,
}


@pytest.mark.parametrize("chunk", [b"zz\r\n{}\r\n", b"-1\r\n{}\r\n"])
@pytest.mark.parametrize("path", PATHS)
def test_chunks_that_are_none_are_a_400_in_the_routes_own_shape(served: Served, path: str, chunk: bytes) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {served.key}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=20) as caller:
        caller.sendall(head.encode() + chunk)
        answer = b""
        while piece := caller.recv(65_536):
            answer += piece
            if b"broke off" in answer:
                break
    assert answer.startswith(b"HTTP/1.1 400 ")
    body = answer.partition(b"\r\n\r\n")[2]
    PATHS[path](httpx.Response(400, headers={"content-type": "application/json"}, content=body))
    assert b"the body broke off before its end" in body
