"""Every failure of an API route leaves in one shape, with the right status, and never as HTML."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from spendhub.api.errors import STATUS_BY_KIND, status_of
from spendhub.errors import SpendHubError, Throttled
from tests.factories import ApiKeyFactory

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.api.urls")]


@pytest.fixture
def client() -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiKeyFactory().secret}")
    return client


def post(
    client: Client, body: bytes | str, path: str = "/api/test/lean", content_type: str = "application/json"
) -> Any:
    return client.generic("POST", path, body, content_type=content_type)


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    body: dict[str, Any] = response.json()
    assert body.keys() == {"error"} and body["error"].keys() == {"code", "message", "details"}
    error: dict[str, Any] = body["error"]
    return error


def test_a_lean_view_answers_a_well_formed_call(client: APIClient) -> None:
    response = post(client, b'{"count": 3}')
    assert (response.status_code, response["X-Tenant"]) == (200, "acme")
    assert response.json() == {"count": 3, "note": None, "extra": {}}


@pytest.mark.parametrize("path", ["/api/test/lean", "/api/test/plain/x"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"count=3", "invalid_json"),
        (b'{"count": NaN}', "invalid_json"),
        (b'{"count": -Infinity}', "invalid_json"),
        (b'{"count": 1e999}', "invalid"),
        (b'{"count": 1, "note": "\xff"}', "invalid_json"),
        (b'{"count": 1, "note": "\\ud800"}', "invalid_json"),
        (b'{"count": 1, "note": "a\\u0000"}', "invalid_json"),
        (b'{"count": 1, "extra": {"a": ' + b"[" * 70 + b"]" * 70 + b"}}", "invalid_json"),
        (b'{"count": 1, "extra": {"a": ' + b"[" * 1900, "invalid_json"),
    ],
)
def test_what_is_no_storable_json_is_refused(client: APIClient, path: str, body: bytes, code: str) -> None:
    assert problem(post(client, body, path), 400)["code"] == code


def test_an_empty_body_is_refused(client: APIClient) -> None:
    assert problem(post(client, b""), 400)["code"] == "invalid_json"
    assert "name" in problem(post(client, b"", "/api/v1/keys"), 400)["details"]["fields"]


def test_brackets_and_escaped_backslashes_inside_a_text_are_harmless(client: APIClient) -> None:
    body = b'{"count": 1, "note": "' + b"[" * 100 + b'\\"{", "extra": {"a": "\\\\u0000"}}'
    assert post(client, body).json()["extra"] == {"a": "\\u0000"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"count": true}', "count"),
        (b'{"count": "3"}', "count"),
        (b'{"count": 1.5}', "count"),
        (b'{"note": "x"}', "count"),
        (b"[]", ""),
    ],
)
def test_a_lean_view_names_the_field_that_does_not_fit(client: APIClient, body: bytes, field: str) -> None:
    assert problem(post(client, body), 400)["details"] == {"field": field}


def test_a_lean_view_names_a_field_it_does_not_know(client: APIClient) -> None:
    assert "`cuont`" in problem(post(client, b'{"cuont": 3}'), 400)["message"]


@pytest.mark.parametrize("path", ["/api/test/lean", "/api/test/plain/x", "/api/v1/keys"])
def test_other_content_types_are_415(client: APIClient, path: str) -> None:
    error = problem(post(client, b"count=3", path, "application/x-www-form-urlencoded"), 415)
    assert error["code"] == "wrong_content_type"


@pytest.mark.parametrize("path", ["/api/test/lean", "/api/test/plain/x", "/api/v1/keys"])
def test_a_body_beyond_the_limit_is_413(client: APIClient, path: str) -> None:
    body = b'{"count": 3, "note": "' + b"x" * 10_000_000 + b'"}'
    assert problem(post(client, body, path), 413)["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("path", "method"), [("/api/test/lean", "GET"), ("/api/test/plain/x", "DELETE"), ("/api/v1/keys", "PUT")]
)
def test_a_wrong_method_is_405(client: APIClient, path: str, method: str) -> None:
    response = client.generic(method, path)
    assert problem(response, 405)["code"] == "wrong_method"
    assert response["Allow"]


@pytest.mark.parametrize("path", ["/api/nowhere", "/api/v1/nowhere", "/api/v1/keys/999999"])
def test_what_does_not_exist_is_404(client: APIClient, path: str) -> None:
    problem(client.get(path), 404)


def test_a_nul_in_an_address_is_400(client: APIClient) -> None:
    problem(client.get("/api/v1/keys?cursor=%00"), 400)
    problem(client.get("/api/v1/keys/%00"), 400)


@pytest.mark.parametrize("path", ["/api/test/lean", "/api/v1/keys"])
def test_no_key_is_401_with_a_challenge(path: str) -> None:
    response = post(Client(), b"{}", path)
    assert problem(response, 401)["code"] == "unidentified"
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_key_without_the_permission_is_403() -> None:
    client = APIClient()
    client.credentials(HTTP_X_API_KEY=ApiKeyFactory(permissions=["read"]).secret)
    assert problem(post(client, b'{"count": 1}'), 403)["details"] == {"needed": "spend"}
    assert problem(post(client, b'{"name": "x"}', "/api/v1/keys"), 403)["code"] == "missing_permission"
    assert client.get("/api/v1/keys").status_code == 200


def test_a_defect_is_500_in_the_same_shape_and_logged_with_its_cause(client: APIClient, caplog: Any) -> None:
    with caplog.at_level(logging.ERROR):
        assert problem(post(client, b'{"count": 1, "note": "defect"}'), 500)["code"] == "internal_error"
        assert "a defect" in caplog.text
        caplog.clear()
        error = problem(client.get("/api/test/plain/defect"), 500)
    assert "a defect" in caplog.text and "defect" not in str(error)


def test_a_database_that_does_not_answer_is_503_with_retry_after(client: APIClient) -> None:
    response = client.get("/api/test/plain/database")
    problem(response, 503)
    assert response["Retry-After"] == "1"


def test_a_throttled_call_says_when_to_come_back(client: APIClient) -> None:
    response = post(client, b'{"count": 1, "note": "throttled"}')
    assert problem(response, 429)["details"] == {"retry_after_seconds": 7}
    assert response["Retry-After"] == "7"


def test_a_class_below_a_kind_has_the_status_of_its_kind() -> None:
    class TooEager(Throttled):
        code = "too_eager"

    assert status_of(TooEager("slow down", retry_after_seconds=1)) == STATUS_BY_KIND[Throttled] == 429
    assert status_of(SpendHubError("unknown kind")) == 500


def test_html_is_never_the_answer(client: APIClient) -> None:
    assert client.get("/api/v1/keys", HTTP_ACCEPT="text/html")["Content-Type"] == "application/json"


def test_the_schema_names_lean_views_and_has_no_warnings(client: APIClient, capsys: Any) -> None:
    schema = client.get("/api/schema/?format=json").json()
    assert capsys.readouterr().err == ""
    operation = schema["paths"]["/api/test/lean"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
    assert set(operation["responses"]) == {"200", "400", "401", "403"}


def test_the_docs_load_nothing_from_elsewhere(client: APIClient) -> None:
    page = client.get("/api/docs/").content.decode()
    assert "/static/drf_spectacular_sidecar/" in page
    assert "://" not in page.replace("http://testserver", "")
