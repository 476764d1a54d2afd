"""System checks and readiness: what an operator is told, by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import redis
from django.core.checks import run_checks
from django.db import OperationalError, connection
from django.test import override_settings

from spendhub import health, processes, snapshots
from spendhub.errors import Unavailable
from spendhub.health import health_answer, readiness
from spendhub.snapshots import Snapshot
from tests.servers import Postgres, SpendHub, Valkey, free_port, wait_until


def told() -> list[str]:
    return [message.id for message in run_checks(databases=["default"]) if message.id.startswith("spendhub.")]


@pytest.mark.django_db
@pytest.mark.sqlite_only
def test_a_sound_installation_is_told_nothing() -> None:
    assert told() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.sqlite_only
def test_sqlite_outside_wal_is_an_error(tmp_path: Path) -> None:
    # In a file of its own: while another thread has the session's file open, SQLite cannot leave WAL there.
    sessions_file = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = str(tmp_path / "own.sqlite3")
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=DELETE")
        assert told() == ["spendhub.E001"]
    finally:
        connection.close()
        connection.settings_dict["NAME"] = sessions_file


@pytest.mark.django_db
def test_a_redis_that_does_not_answer_is_a_warning() -> None:
    with override_settings(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"):
        assert "spendhub.W001" in told()


@pytest.mark.django_db
def test_a_redis_that_may_evict_counters_is_a_warning(valkey: Valkey) -> None:
    with override_settings(REDIS_URL=valkey.url):
        assert not {"spendhub.W001", "spendhub.W002"} & set(told())
        with redis.Redis.from_url(valkey.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        assert "spendhub.W002" in told()


@pytest.mark.servers
def test_a_postgres_that_confirms_before_it_writes_is_a_warning(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The session's own server does so on purpose.
    product = SpendHub(tmp_path_factory.mktemp("check"), {"DATABASE_URL": postgres_url})
    assert "spendhub.W003" in product.manage("check", "--database", "default", "--fail-level", "ERROR")


@pytest.mark.servers
def test_a_postgres_that_keeps_its_promises_is_told_nothing_and_one_that_is_gone_is_an_error(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    product = SpendHub(tmp_path_factory.mktemp("check"), {"DATABASE_URL": postgres.url})
    assert "no issues" in product.manage("check", "--database", "default")
    postgres.stop()
    with pytest.raises(RuntimeError, match=r"spendhub\.E002"):
        product.manage("check", "--database", "default")


def test_answering_any_host_is_a_warning_when_deploying() -> None:
    def told_when_deploying() -> set[str]:
        return {message.id for message in run_checks(include_deployment_checks=True)}

    assert "spendhub.W004" in told_when_deploying()
    with override_settings(ALLOWED_HOSTS=["spend.example.com"]):
        assert "spendhub.W004" not in told_when_deploying()


@pytest.mark.django_db(transaction=True)
def test_ready_means_that_the_database_answers(valkey_url: str) -> None:
    with override_settings(REDIS_URL=None):
        assert readiness() == (True, {"database": "ok", "counters": "ok (database)", "snapshots": "ok"})
    with override_settings(REDIS_URL=valkey_url):
        assert readiness()[1]["counters"] == "ok (redis)"
    with override_settings(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"):
        is_ready, report = readiness()
    assert is_ready
    assert report["counters"].startswith("Redis does not answer")


@pytest.mark.django_db(transaction=True)
def test_a_process_whose_snapshots_are_old_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "snapshots_age_seconds", lambda: 11.0)
    status, body = health_answer("/readyz")
    assert status == 503
    assert json.loads(body)["snapshots"] == "11 s old"


@pytest.mark.django_db(transaction=True)
def test_a_process_that_could_not_read_its_snapshots_is_not_ready_until_it_could(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OperationalError("away")

    monkeypatch.setattr(processes, "refresh_all", fail)
    monkeypatch.setattr(snapshots, "refresh_all", fail)
    processes.start_background_threads()
    try:
        status, body = health_answer("/readyz")
        assert (status, json.loads(body)["snapshots"]) == (503, "not read yet")
        monkeypatch.setattr(snapshots, "refresh_all", lambda: None)
        wait_until(lambda: health_answer("/readyz")[0] == 200, 20, "the poller to have read them")
    finally:
        processes.stop_background_threads()


def test_where_no_snapshot_has_been_read_an_event_loop_is_told_to_come_back() -> None:
    snapshot = Snapshot("unread", lambda: pytest.fail("an event loop may not wait for the database"))
    try:

        async def look() -> None:
            snapshot.current()

        with pytest.raises(Unavailable) as told:
            asyncio.run(look())
        assert told.value.retry_after_seconds == 1
    finally:
        del Snapshot.registry["unread"]


@pytest.mark.django_db(transaction=True)
def test_background_threads_start_once_and_stop() -> None:
    assert processes.snapshots_age_seconds() is None
    processes.start_background_threads()
    try:
        processes.start_background_threads()
        age = processes.snapshots_age_seconds()
        assert age is not None
        assert 0 <= age < 5
    finally:
        processes.stop_background_threads()
    assert processes.snapshots_age_seconds() is None
