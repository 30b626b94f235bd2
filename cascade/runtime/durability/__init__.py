"""The state store: its seam, what is written to it, and what is read from it."""
