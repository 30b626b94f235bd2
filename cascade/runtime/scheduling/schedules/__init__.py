"""The schedules: in which order, and when, the nodes of a frame are handed to its scheduler."""
