"""What the event loop's ledger says to PostgreSQL: a few statements that are one transaction.

They store spans, look at the budgets' version, add to the ledger, and end holds where the database counts them. The
second and the third divide by zero, and so undo everything, where the version or a window is not what this process
knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import msgspec
from psycopg import pq

from budgets.ledger import ADDS_TO_LEDGER, LEDGER_COLUMNS, Standing, Sums, ledger_rows
from budgets.models import BUDGETS_SNAPSHOT, BudgetWindow
from budgets.quiet import KEEPS_ITS_PROMISE, PROMISED_COLUMNS, Quiet
from budgets.states import WindowKey
from spendhub.bulk_insert import json_insert, rows_as_json
from spendhub.loop_postgres import Asked
from telemetry.models import CostSpan
from telemetry.span_store import SPAN_COLUMNS, SpanBatch, span_row

STORE_SPANS, EXPECT_VERSION, ADD_TO_LEDGER = "store_spans", "expect_version", "add_to_ledger"
# As budgets.counters.database.end_holds, and in its order.
END_HOLD_LINES, END_HOLDS = "end_hold_lines", "end_holds"


@cache
def booking_statements() -> Mapping[str, str]:
    """The statements by name, for a connection to prepare."""
    return {
        STORE_SPANS: json_insert(CostSpan, SPAN_COLUMNS, "$1"),
        EXPECT_VERSION: "SELECT 1 / (COALESCE((SELECT version FROM spendhub_snapshotversion WHERE name = "
        f"'{BUDGETS_SNAPSHOT}'), 0) = $1::bigint)::int",
        ADD_TO_LEDGER: f"{json_insert(BudgetWindow, LEDGER_COLUMNS, '$1')} ON CONFLICT {ADDS_TO_LEDGER} "
        f"RETURNING id, spend_nano_usd - forgiven_nano_usd, version, 1 / {KEEPS_ITS_PROMISE}::int",
        END_HOLD_LINES: "DELETE FROM budgets_holdline WHERE hold_id = ANY($1::uuid[])",
        END_HOLDS: "DELETE FROM budgets_hold WHERE id = ANY($1::uuid[])",
    }


def booking_message(batches: Sequence[SpanBatch], sums: Sums, quiet: Iterable[Quiet], version: int) -> list[Asked]:
    """Stores the batches' spans, adds `sums` to the windows that `quiet` knows, and ends the batches' holds."""
    spans = [span_row(batch, draft) for batch in batches for draft in batch.drafts]
    message = [
        Asked(STORE_SPANS, [rows_as_json(SPAN_COLUMNS, spans)]),
        # After the first write of a span: ledger.budgets_for_writing says why.
        Asked(EXPECT_VERSION, [b"%d" % version]),
    ]
    if sums.nano_usd:
        added = rows_as_json(LEDGER_COLUMNS, ledger_rows(sums, batches[0].now))
        promised = rows_as_json(PROMISED_COLUMNS, [each.promise() for each in quiet])
        message.append(Asked(ADD_TO_LEDGER, [added, promised]))
    ended = [hold_id for batch in batches for hold_id in batch.ended_holds]
    if ended:
        ids = b"{%s}" % ",".join(map(str, ended)).encode()
        message += [Asked(END_HOLD_LINES, [ids]), Asked(END_HOLDS, [ids])]
    return message


def read_standings(
    results: Sequence[pq.abc.PGresult], quiet: Mapping[int, Quiet], sums: Sums
) -> dict[WindowKey, Standing]:
    """How the rows stand that a message has added to, read from its results; `quiet` knows each by its id."""
    found: dict[WindowKey, Standing] = {}
    if not sums.nano_usd:
        return found
    written = results[2]
    for row in range(written.ntuples):
        row_id, counted, version = [int(written.get_value(row, column) or 0) for column in range(3)]
        before = quiet[row_id].stands
        stands = msgspec.structs.replace(before, counted_nano_usd=counted, version=version)
        found[before.key] = Standing(stands, sums.matched[before.key])
    return found
