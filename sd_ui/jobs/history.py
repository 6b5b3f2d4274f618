"""What an owner has asked for before: the prompts of their jobs, the latest first. It keeps nothing of its own: the jobs are the history."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from sd_ui.jobs.database import Database

PORTION = 500  # jobs read at a time
LOOKED_AT = 20_000  # of the latest jobs, so that a search has an end
LATEST = """
    SELECT number, id, created, json_extract(request, '$.prompt') AS prompt, json_extract(request, '$.negative_prompt') AS negative_prompt,
    json_extract(request, '$.styles') AS styles FROM job WHERE owner = ? AND number < ? AND json_valid(request) ORDER BY number DESC LIMIT ?
"""


@dataclass(frozen=True)
class Asked:
    """Prompts as they were written, before styles and wildcards. job: the latest that asked so. created: UTC, ISO 8601."""

    job: str
    prompt: str
    negative_prompt: str
    styles: tuple[str, ...]
    created: str


class History:
    """Each owner has a history of their own."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, owner: str, text: str = "", limit: int = 50) -> list[Asked]:
        """text: words that must all stand in a prompt, its negative or its styles. The same prompts count once, where they were last used."""
        words, found = text.casefold().split(), dict[tuple[object, ...], Asked]()
        for asked in self._latest(owner):
            said = (asked.prompt, asked.negative_prompt, asked.styles)
            everything = "\n".join((asked.prompt, asked.negative_prompt, *asked.styles)).casefold()
            if any((asked.prompt, asked.negative_prompt)) and all(word in everything for word in words):
                found.setdefault(said, asked)
            if len(found) >= limit:
                break
        return list(found.values())

    def get(self, owner: str, job: str) -> Asked | None:
        rows = self._db.read(LATEST.replace("number < ?", "id = ?"), owner, job, 1)
        return asked_of(rows[0]) if rows else None

    def _latest(self, owner: str) -> Iterator[Asked]:
        below = 2**62
        for _ in range(LOOKED_AT // PORTION):
            rows = self._db.read(LATEST, owner, below, PORTION)
            yield from (asked_of(row) for row in rows if isinstance(row["prompt"], str))
            if len(rows) < PORTION:
                return
            below = rows[-1]["number"]


def asked_of(row: sqlite3.Row) -> Asked:
    """Jobs of before there were styles have none."""
    return Asked(row["id"], row["prompt"] or "", row["negative_prompt"] or "", tuple(json.loads(row["styles"] or "[]")), row["created"])
