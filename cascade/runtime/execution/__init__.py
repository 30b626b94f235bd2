"""One node, from bound arguments to its recorded outcome: recall, admission, attempt, retry, settling.

May import ``context`` and all rooms below it.
"""
