"""Each Lua script alone, and how scripts are run: reconnecting, timing out, telling one server from another."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from budgets.counters.async_scripts import AsyncRedisScripts
from budgets.counters.base import CounterStoreDown
from budgets.counters.scripts import RedisScripts, script
from spendhub.steps import Journey, Pause, RunScript, run_until_asked
from tests.servers import Valkey

LUA = Path("budgets/counters/lua")


@pytest.fixture
def client(valkey_url: str) -> Iterator[Any]:
    made = redis.Redis.from_url(valkey_url, decode_responses=True)
    yield made
    made.close()


@pytest.fixture
def own_client(valkey: Valkey) -> Iterator[Any]:
    """For what concerns everybody who uses the server: the session's is shared with other processes' tests."""
    made = redis.Redis.from_url(valkey.url)
    yield made
    made.close()


@pytest.fixture
def scripts(valkey_url: str) -> Iterator[RedisScripts]:
    made = RedisScripts(valkey_url)
    yield made
    made.close()


def run(scripts: RedisScripts, name: str, keys: list[str], *args: str | int) -> Any:
    return scripts.run_script(RunScript(name, keys, args))


def reserve(scripts: RedisScripts, hold: str = "h1", amount: int = 5, cap: str = "10", now: str = "100") -> Any:
    keys = ["open", f"h:{hold}", "calls", "reservations", "w:0"]
    return run(scripts, "reserve", keys, now, hold, amount, "160", f"{amount}|[]", 99, 1, "b:ada", cap)


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.stem)
def test_every_script_is_headed_by_its_contract(path: Path) -> None:
    header = re.match(r"(?:--.*\n)+", path.read_text())
    assert header is not None
    assert header[0].startswith(f"-- {path.stem}: ")
    for word in ("KEYS", "ARGV", "result", "changes"):
        assert f"-- {word}" in header[0]
    assert "tostring" not in path.read_text()


def test_reserve_in_a_memory_that_is_not_marked_is_lost_and_writes_nothing(scripts: RedisScripts, client: Any) -> None:
    assert reserve(scripts) == [b"lost"]
    client.set("open", "another server's run id")
    assert reserve(scripts) == [b"lost"]
    assert client.keys() == ["open"]


def test_reserve_names_the_cold_windows_and_writes_nothing(scripts: RedisScripts, client: Any) -> None:
    run(scripts, "mark", ["open"])
    assert reserve(scripts) == [b"cold", 1]
    assert client.keys() == ["open"]


def test_reserve_writes_the_hold_its_end_and_what_is_reserved(scripts: RedisScripts, client: Any) -> None:
    run(scripts, "mark", ["open"])
    client.hset("w:0", mapping={"sb:ada": 2, "vb:ada": 1})
    assert reserve(scripts) == [b"held", b"2", b"0"]
    assert client.hgetall("w:0") == {"sb:ada": "2", "vb:ada": "1", "rb:ada": "5"}
    assert (client.get("h:h1"), client.ttl("h:h1")) == ("5|[]", 99)
    assert client.zrange("calls", 0, -1, withscores=True) == [("h1", 160.0)]


def test_reserve_that_does_not_fit_writes_nothing(scripts: RedisScripts, client: Any) -> None:
    run(scripts, "mark", ["open"])
    client.hset("w:0", mapping={"sb:ada": 6, "vb:ada": 1})
    assert reserve(scripts) == [b"full", b"6", b"0"]
    assert sorted(client.keys()) == ["open", "w:0"]
    assert client.hget("w:0", "rb:ada") is None


def test_reserve_asks_for_lapsed_reservations_to_be_taken_out_first(scripts: RedisScripts, client: Any) -> None:
    run(scripts, "mark", ["open"])
    client.zadd("reservations", {"old": 100, "young": 101})
    assert reserve(scripts) == [b"lapsed", b"old"]


def test_sums_beyond_what_a_double_holds_stay_exact(scripts: RedisScripts, client: Any) -> None:
    run(scripts, "mark", ["open"])
    client.hset("w:0", mapping={"sb:ada": 0, "vb:ada": 1, "rb:ada": 2**53})
    assert reserve(scripts, amount=1, cap="-")[0] == b"held"
    assert client.hget("w:0", "rb:ada") == str(2**53 + 1)
    assert run(scripts, "settle", ["open", "h:h1", "calls", "w:0"], "h1", "", 1, 0, "b:ada", 1, "", "") == 1
    assert client.hget("w:0", "rb:ada") == str(2**53)


def test_settle_ends_the_hold_once(scripts: RedisScripts, client: Any) -> None:
    run(scripts, "mark", ["open"])
    client.hset("w:0", mapping={"sb:ada": 0, "vb:ada": 1})
    reserve(scripts)
    keys = ["open", "h:h1", "calls", "w:0"]
    assert run(scripts, "settle", keys, "h1", "", 1, 0, "b:ada", 1, 4, 2) == 1
    assert run(scripts, "settle", keys, "h1", "", 1, 0, "b:ada", 1, 4, 2) == 0
    assert client.hgetall("w:0") == {"sb:ada": "4", "vb:ada": "2", "rb:ada": "0"}
    assert sorted(client.keys()) == ["open", "w:0"]


def test_settle_ends_only_what_has_ended_when_told_so(scripts: RedisScripts, client: Any) -> None:
    run(scripts, "mark", ["open"])
    client.hset("w:0", mapping={"sb:ada": 0, "vb:ada": 1})
    reserve(scripts)
    keys = ["open", "h:h1", "calls", "w:0"]
    assert run(scripts, "settle", keys, "h1", "159.9", 1, 0, "b:ada", 1, "", "") == 0
    assert run(scripts, "settle", keys, "h1", "160", 1, 0, "b:ada", 1, "", "") == 1


def test_a_total_makes_a_window_only_in_a_marked_memory_and_gives_it_an_end(scripts: RedisScripts, client: Any) -> None:
    keys = ["open", "h:", "calls", "w:0"]
    run(scripts, "settle", keys, "", "", 1, 500, "b:ada", 0, 4, 2)
    assert client.keys() == []
    run(scripts, "mark", ["open"])
    run(scripts, "settle", keys, "", "", 1, 500, "b:ada", 0, 4, 2)
    assert client.hgetall("w:0") == {"sb:ada": "4", "vb:ada": "2"}
    assert client.ttl("w:0") == 500
    run(scripts, "settle", keys, "", "", 1, 100, "b:ben", 0, 4, 2)
    assert client.ttl("w:0") == 500
    run(scripts, "settle", keys, "", "", 1, 900, "b:eve", 0, 4, 2)
    assert client.ttl("w:0") == 900


def test_restore_leaves_a_window_cold(scripts: RedisScripts, client: Any) -> None:
    args = ("h1", 5, "160", "5|[]", 99, 1, 500, "b:ada")
    assert run(scripts, "restore", ["h:h1", "calls", "w:0"], *args) == 1
    assert run(scripts, "restore", ["h:h1", "calls", "w:0"], *args) == 0
    assert client.hgetall("w:0") == {"rb:ada": "5"}
    run(scripts, "mark", ["open"])
    assert reserve(scripts, hold="h2") == [b"cold", 1]


def test_extend_moves_known_ends_only(scripts: RedisScripts, client: Any) -> None:
    client.zadd("calls", {"h1": 100})
    client.zadd("reservations", {"h2": 100})
    assert run(scripts, "extend", ["calls", "reservations"], "200", "h1", "h2", "h3") == 2
    assert client.zrange("calls", 0, -1, withscores=True) == [("h1", 200.0)]
    assert client.zrange("reservations", 0, -1, withscores=True) == [("h2", 200.0)]


def test_ended_and_stored_read_in_order(scripts: RedisScripts, client: Any) -> None:
    client.zadd("calls", {"late": 90, "early": 80, "alive": 101})
    client.set("h:early", "1|[]")
    assert run(scripts, "ended", ["calls"], "100", 10) == [b"early", b"late"]
    assert run(scripts, "stored", ["h:early", "h:late"]) == [b"1|[]", None]


def test_look_changes_nothing(scripts: RedisScripts, client: Any) -> None:
    keys = ["open", "reservations", "w:0"]
    assert run(scripts, "look", keys, "100", 1, "b:ada") == [b"lost"]
    run(scripts, "mark", ["open"])
    assert run(scripts, "look", keys, "100", 1, "b:ada") == [b"cold", 1]
    client.hset("w:0", mapping={"sb:ada": 2, "vb:ada": 1})
    assert run(scripts, "look", keys, "100", 1, "b:ada") == [b"seen", b"2", b"0"]
    assert sorted(client.keys()) == ["open", "w:0"]


def test_a_marker_is_valid_for_the_server_that_set_it(scripts: RedisScripts, client: Any) -> None:
    assert run(scripts, "marked", ["m"]) == 0
    run(scripts, "mark", ["m"])
    assert run(scripts, "marked", ["m"]) == 1
    client.set("m", "0" * 40)
    assert run(scripts, "marked", ["m"]) == 0


def test_scripts_that_the_server_has_forgotten_are_sent_again(valkey: Valkey, own_client: Any) -> None:
    scripts = RedisScripts(valkey.url)
    run(scripts, "mark", ["m"])
    own_client.script_flush()
    assert run(scripts, "marked", ["m"]) == 1
    scripts.close()
    own_client.script_flush()

    async def ask() -> Any:
        runner = AsyncRedisScripts(valkey.url)
        answer = await runner.run_script(RunScript("marked", ["m"], []))
        runner.close()
        return answer

    assert asyncio.run(ask()) == 1


def test_both_runners_find_a_restarted_server_and_see_that_it_is_another(valkey: Valkey) -> None:
    step = RunScript("marked", ["m"], [])
    scripts = RedisScripts(valkey.url)

    async def across_a_restart() -> list[Any]:
        runner = AsyncRedisScripts(valkey.url)
        await runner.run_script(RunScript("mark", ["m"], []))
        answers = [await runner.run_script(step), scripts.run_script(step)]
        valkey.kill()
        with pytest.raises(CounterStoreDown):
            await runner.run_script(step)
        with pytest.raises(CounterStoreDown):
            scripts.run_script(step)
        valkey.start()
        answers += [await runner.run_script(step), scripts.run_script(step)]
        runner.close()
        return answers

    assert asyncio.run(across_a_restart()) == [1, 1, 0, 0]
    scripts.close()


def test_a_server_that_does_not_answer_is_down_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        scripts = RedisScripts(url)
        with pytest.raises(CounterStoreDown):
            scripts.ping()
        scripts.close()

        async def ask() -> None:
            await AsyncRedisScripts(url).run_script(RunScript("marked", ["m"], []))

        with pytest.raises(CounterStoreDown):
            asyncio.run(ask())


def test_a_server_that_falls_silent_is_down_for_all_who_wait(valkey: Valkey, own_client: Any) -> None:
    async def ask() -> list[Any]:
        runner = AsyncRedisScripts(valkey.url)
        await runner.run_script(RunScript("marked", ["m"], []))
        await asyncio.to_thread(own_client.client_pause, 60_000)
        steps = [runner.run_script(RunScript("mark", ["m"], [])) for _ in range(3)]
        return await asyncio.gather(*steps, return_exceptions=True)

    answers = asyncio.run(ask())
    assert [type(answer) for answer in answers] == [CounterStoreDown] * 3


def test_what_is_run_later_comes_behind_a_script_that_was_sent_to_a_server_that_has_never_run_it(
    valkey: Valkey,
) -> None:
    async def send() -> Any:
        runner = AsyncRedisScripts(valkey.url)
        await runner.run_script(RunScript("marked", ["m"], []))
        sent = runner.send_script(RunScript("mark", ["m"], []))
        was_marked = await runner.run_script(RunScript("marked", ["m"], []))
        await sent
        runner.close()
        return was_marked

    assert asyncio.run(send()) == 1


def test_a_script_that_the_server_has_forgotten_is_sent_again_by_who_does_not_wait_for_it(
    valkey: Valkey, own_client: Any
) -> None:
    async def send() -> Any:
        runner = AsyncRedisScripts(valkey.url)
        await runner.run_script(RunScript("mark", ["m"], []))
        own_client.script_flush()
        was_marked = await runner.send_script(RunScript("marked", ["m"], []))
        runner.close()
        return was_marked

    assert asyncio.run(send()) == 1


def test_a_journey_driven_until_it_has_asked_goes_on_behind_the_back_of_who_drove_it(
    valkey_url: str, client: Any
) -> None:
    async def story() -> list[str]:
        runner = AsyncRedisScripts(valkey_url)
        await runner.run_script(RunScript("marked", ["m"], []))
        told: list[str] = []
        tasks: list[asyncio.Task[None]] = []

        def journey() -> Journey[None]:
            yield RunScript("mark", ["m"], [])
            told.append("marked")
            yield Pause(0.0)
            told.append("ended")

        await run_until_asked(journey(), runner, lambda rest: tasks.append(asyncio.ensure_future(rest)))
        told.append("asked")
        await asyncio.gather(*tasks)
        runner.close()
        return told

    assert asyncio.run(story()) == ["asked", "marked", "ended"]


def test_a_journey_that_sends_nothing_first_is_driven_to_its_end(valkey_url: str) -> None:
    async def story() -> list[str]:
        told: list[str] = []

        def journey() -> Journey[None]:
            yield Pause(0.0)
            told.append("ended")

        await run_until_asked(journey(), AsyncRedisScripts(valkey_url), lambda rest: told.append("left"))
        return told

    assert asyncio.run(story()) == ["ended"]


def test_neighbours_on_one_loop_each_get_their_own_answer(valkey_url: str, client: Any) -> None:
    for number in range(50):
        client.set(f"k{number}", number)

    async def ask() -> list[Any]:
        runner = AsyncRedisScripts(valkey_url)
        steps = [runner.run_script(RunScript("stored", [f"k{number}"], [])) for number in range(50)]
        answers = await asyncio.gather(*steps)
        runner.close()
        return answers

    assert asyncio.run(ask()) == [[str(number).encode()] for number in range(50)]


def test_a_script_is_called_by_the_digest_of_its_text() -> None:
    assert script("mark").sha == redis.Redis().register_script(script("mark").text).sha
