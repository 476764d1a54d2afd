"""Many rows in one INSERT, with what became of each: the same on SQLite and PostgreSQL.

Django's bulk_create cannot return rows from an upsert; the ledger lives on exactly that. On
PostgreSQL the rows travel as one JSON parameter, which costs a tenth of a placeholder per value.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from django.db import connection, models

# SQLite takes 32,766 parameters a statement.
MAX_PARAMETERS = 30_000
MAX_ROWS = 5_000

_to_json = msgspec.json.Encoder().encode


def insert_rows(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    on_conflict: str,
    returning: Sequence[str] = (),
) -> list[tuple[Any, ...]]:
    """Inserts `rows` into the model's table in their order, and gives what they return, in any order.

    `on_conflict` is the clause after ON CONFLICT. With DO NOTHING only rows that are new come back.
    Values are plain Python: UUID, aware datetime, dict and list (as JSON), str, int, bool, None.
    """
    if connection.vendor == "postgresql":
        return _insert_from_json(model, tuple(columns), rows, on_conflict, tuple(returning))
    found: list[tuple[Any, ...]] = []
    with connection.cursor() as cursor:
        row_marks = f"({', '.join(['%s'] * len(columns))})"
        for chunk in _chunks(rows, MAX_PARAMETERS // len(columns)):
            statement = (
                f"INSERT INTO {model._meta.db_table} ({_names(columns)}) "
                f"VALUES {', '.join([row_marks] * len(chunk))} ON CONFLICT {on_conflict}"
            )
            if returning:
                # In RETURNING, SQLite knows columns by their bare names only.
                statement += f" RETURNING {', '.join(returning)}"
            cursor.execute(statement, [adapt(value) for row in chunk for value in row])
            if returning:
                found.extend(cursor.fetchall())
    return found


def _insert_from_json(
    model: type[models.Model],
    columns: tuple[str, ...],
    rows: Sequence[Sequence[Any]],
    on_conflict: str,
    returning: tuple[str, ...],
) -> list[tuple[Any, ...]]:
    statement = f"{json_insert(model, columns, '%s')} ON CONFLICT {on_conflict}"
    if returning:
        statement += f" RETURNING {', '.join(returning)}"
    found: list[tuple[Any, ...]] = []
    with connection.cursor() as cursor:
        for chunk in _chunks(rows, MAX_ROWS):
            cursor.execute(statement, [rows_as_json(columns, chunk).decode()])
            if returning:
                found.extend(cursor.fetchall())
    return found


@cache
def json_insert(model: type[models.Model], columns: tuple[str, ...], parameter: str) -> str:
    """An INSERT for PostgreSQL whose rows are one JSON parameter; `parameter` is how the driver marks it."""
    types = {field.column: field.db_type(connection) for field in model._meta.concrete_fields}
    typed = ", ".join(f'"{column}" {types[column]}' for column in columns)
    return (
        f"INSERT INTO {model._meta.db_table} ({_names(columns)}) SELECT {_names(columns)} "
        f"FROM json_to_recordset({parameter}::json) AS given({typed})"
    )


def rows_as_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """The rows as `json_insert` takes them."""
    return _to_json([dict(zip(columns, row, strict=True)) for row in rows])


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def adapt(value: Any) -> Any:
    """A Python value as this database's driver takes it."""
    if isinstance(value, uuid.UUID):
        return value if connection.features.has_native_uuid_field else value.hex
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return value


def read_uuid(value: Any) -> uuid.UUID:
    """A UUID column of a raw row."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def read_json(value: Any) -> Any:
    """A JSON column of a raw row."""
    return json.loads(value) if isinstance(value, str) else value


def _chunks(rows: Sequence[Sequence[Any]], size: int) -> Iterator[Sequence[Sequence[Any]]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
