"""What can still be read of a damaged database is put into the new one: without it nobody would know whose the pictures are."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

TABLES = ("job", "picture")  # in this order: a picture belongs to a job


def salvage(damaged: Path, connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows of each table were saved. What cannot be read is left out; the damaged file is not changed."""
    with closing(sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)) as old:
        old.row_factory = sqlite3.Row
        found = {table: rows(old, table) for table in TABLES}
    connection.execute("BEGIN IMMEDIATE")
    saved = {table: sum(put(connection, table, row) for row in found[table]) for table in TABLES}
    connection.execute("COMMIT")
    return saved


def rows(old: sqlite3.Connection, table: str) -> list[sqlite3.Row]:
    """Read from both ends, each time up to the damage."""
    found: dict[int, sqlite3.Row] = {}
    for order in ("ASC", "DESC"):
        try:
            for row in old.execute(f"SELECT * FROM {table} ORDER BY number {order}"):
                if row["number"] in found:
                    break  # they have met: nothing was missing between
                found[row["number"]] = row
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue
    return [found[number] for number in sorted(found)]


def put(connection: sqlite3.Connection, table: str, row: sqlite3.Row) -> bool:
    """Whether it could be taken: a row may be readable and make no sense, alone or beside the others."""
    try:
        for name in {"request", "delivery"} & set(row.keys()):
            json.loads(row[name])
        names = ", ".join(f'"{name}"' for name in row.keys())  # noqa: SIM118  a Row iterates over its values
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row))
    except (ValueError, TypeError, sqlite3.IntegrityError, sqlite3.OperationalError):
        return False
    return True
