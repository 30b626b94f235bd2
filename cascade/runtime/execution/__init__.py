"""One node, from bound arguments to its recorded outcome: recall, admission, attempt, retry, settling.

A single attempt is a room inside it: ``attempt``.

May import ``context`` and all rooms below it.
"""
