"""The state store: the interface of backends, the journal that writes, resuming, the history that is read.

May import ``admission``, ``observation`` and ``foundation``; not ``control``.

*Resuming.* A run that begins takes its lease, reads the ids of all its records in one go, and compares digests
before anything runs. Each frame gets what is recorded of its nodes when it begins, and such a node is replayed
when it is ready. So skips, routes and pruning follow by the same code as ever; skips that follow from other nodes
(pruned, upstream failed) are decided anew. The run reads values from its frames, never from the store.

*Loops.* Only some turns are recorded. What settles in the others is held in memory with the beginning of its
turn, and dropped when the next turn begins. When a turn is due, or the run ends, its beginning takes the place of
all records in one transaction. A lane that makes turns by itself ends its part when one is due.
"""
