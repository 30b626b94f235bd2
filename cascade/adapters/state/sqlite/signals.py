"""The table ``signals`` of an SQLite state file.

``lease.py`` says what is in it. It is made when the first run has a signal, so files in which there is none yet
are good as they are.
"""

from __future__ import annotations

import time
from typing import Any, Final

import attrs

from cascade.adapters.sqlite_store import SQLiteFile
from cascade.adapters.state.pickling import loaded_signal, pickled_signal
from cascade.adapters.state.sqlite.details import has_table
from cascade.adapters.state.sqlite.lease import LOOK, RunLease
from cascade.model.errors import StateError
from cascade.runtime.durability.signal_records import SignalRecords

_MAKE: Final = """CREATE TABLE IF NOT EXISTS signals (
    run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL, recorded REAL NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID"""


@attrs.define(eq=False)
class SQLiteSignals(SignalRecords):
    """The signals of one run in a state file.

    Attributes:
        file: The file.
        lease: The lease of the run. If this process had it, it must have it still.
    """

    file: SQLiteFile
    lease: RunLease
    look_every: float | None = LOOK

    async def accept(self, key: str, value: Any, *, replaces: bool = False) -> Any:
        data = pickled_signal(value)
        kept = await self.file.call(lambda: self._accept(key, data, "REPLACE" if replaces else "IGNORE"))
        return value if kept == data else loaded_signal(kept)

    def _accept(self, key: str, data: bytes, otherwise: str) -> bytes:
        with self.lease.transaction() as connection:
            number = self.lease.find(connection) if self.lease.owner is None else self.lease.enrol(connection)
            if number is None:
                raise StateError(f"there is no run {self.lease.run_id!r} in {self.file.path!r}")
            connection.execute(_MAKE)
            connection.execute(
                f"INSERT OR {otherwise} INTO signals (run, key, recorded, value) VALUES (?, ?, ?, ?)",
                (number, key, time.time(), data),
            )
            row = connection.execute("SELECT value FROM signals WHERE run = ? AND key = ?", (number, key))
            return bytes(row.fetchone()[0])

    async def all(self) -> dict[str, Any]:
        return await self.file.call(self._all)

    def _all(self) -> dict[str, Any]:
        connection = self.file.connection()
        number = self.lease.find(connection)
        if number is None or not has_table(connection, "signals"):
            return {}
        rows = connection.execute("SELECT key, value FROM signals WHERE run = ?", (number,))
        return {key: loaded_signal(data) for key, data in rows.fetchall()}

    async def forget(self) -> None:
        await self.file.call(self._forget)

    def _forget(self) -> None:
        with self.lease.transaction() as connection:
            if has_table(connection, "signals"):
                number = self.lease.enrol(connection)
                connection.execute("DELETE FROM signals WHERE run = ?", (number,))
