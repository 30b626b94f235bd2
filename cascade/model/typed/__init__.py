"""From text and plain data to values of declared types, and what to say where that fails."""
