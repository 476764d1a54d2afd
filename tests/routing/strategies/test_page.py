"""docs/routing.md says what the code has: its tables are compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

from routing.data import __file__ as data
from routing.route_options import COMMON, read_options
from routing.strategies.registry import STRATEGIES

PAGE = (Path(__file__).parents[3] / "docs" / "routing.md").read_text("utf-8")


def rows_below(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading (or a line that begins so)."""
    table = PAGE.split(heading, 1)[1].split("\n|---", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_every_strategy_is_on_the_page_with_its_options() -> None:
    told = {row[0].strip("`"): re.findall(r"`(\w+)`", row[2]) for row in rows_below("## Strategies")}
    assert list(told) == list(STRATEGIES)
    for name, options in told.items():
        try:
            STRATEGIES[name].settings({"no_such_option": 1}, ("a",))
        except Exception as error:
            has = str(error).rsplit("it has ", 1)[1]
        assert has == (", ".join(sorted(options)) or "none of its own")


def test_every_strategy_says_what_its_options_do_and_shows_some_that_it_takes() -> None:
    for name, strategy in STRATEGIES.items():
        try:
            strategy.settings({"no_such_option": 1}, ("a",))
        except Exception as error:
            has = str(error).rsplit("it has ", 1)[1]
        assert ", ".join(sorted(strategy.options_in_words)) == has.replace("none of its own", "")
        shown = json.loads(strategy.example or "{}")
        assert set(shown) <= set(strategy.options_in_words)
        if shown:
            read_options(name, shown, ())


def test_every_common_option_is_on_the_page() -> None:
    assert [row[0].strip("`") for row in rows_below("### Options of every route")] == list(COMMON)


def test_every_built_in_route_is_on_the_page() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in rows_below("These routes come with the catalog.")}
    built_in = json.loads(Path(data).with_name("routes.json").read_text("utf-8"))["routes"]
    assert told == {entry["name"]: entry["strategy"] for entry in built_in}
