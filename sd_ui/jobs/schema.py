"""What the database looks like, as a list of steps from nothing to now. A released step is never changed: a new one is appended."""

import sqlite3

MIGRATIONS = (
    # seeds go up to 2^64-1, which is more than an INTEGER of SQLite holds: they are text
    """
    CREATE TABLE job (
        number   INTEGER PRIMARY KEY AUTOINCREMENT,
        id       TEXT NOT NULL UNIQUE,
        owner    TEXT NOT NULL,
        key      TEXT,
        place    INTEGER NOT NULL,
        request  TEXT NOT NULL,
        delivery TEXT NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
        note     TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        created  TEXT NOT NULL,
        ended    TEXT,
        UNIQUE (owner, key)
    );
    CREATE INDEX job_state ON job (state, place);
    CREATE INDEX job_owner ON job (owner, state, number);
    CREATE TABLE picture (
        number  INTEGER PRIMARY KEY AUTOINCREMENT,
        id      TEXT NOT NULL UNIQUE,
        job     TEXT NOT NULL REFERENCES job (id),
        owner   TEXT NOT NULL,
        "index" INTEGER NOT NULL,
        seed    TEXT NOT NULL,
        path    TEXT NOT NULL UNIQUE,
        width   INTEGER NOT NULL,
        height  INTEGER NOT NULL,
        pixels  TEXT NOT NULL,
        created TEXT NOT NULL,
        UNIQUE (job, "index")
    );
    CREATE INDEX picture_owner ON picture (owner, number);
    """,
    # what jobs took, for predictions: worth keeping, no harm when lost
    """
    CREATE TABLE measurement (
        number  INTEGER PRIMARY KEY AUTOINCREMENT,
        model   TEXT NOT NULL,
        facts   TEXT NOT NULL,
        created TEXT NOT NULL
    );
    CREATE INDEX measurement_model ON measurement (model, number);
    """,
)


class NewerDatabase(RuntimeError):
    """The database was written by a later version of the program, which knows more than this one."""


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the database to the newest schema, each step whole or not at all."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise NewerDatabase(f"the database has version {version}, and this program knows versions up to {len(MIGRATIONS)}: start the newer SD UI")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
