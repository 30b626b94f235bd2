"""The life of one node: bind or skip, recall, admit, attempt, retry, settle."""
