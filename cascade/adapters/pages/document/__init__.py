"""What pages show of a run: a document of plain JSON, bounded in size, from events or from records."""
