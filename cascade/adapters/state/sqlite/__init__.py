"""State in an SQLite file."""

from cascade.adapters.state.sqlite.backend import SQLiteStateBackend, check_url, open_url

__all__ = ["SQLiteStateBackend", "check_url", "open_url"]
