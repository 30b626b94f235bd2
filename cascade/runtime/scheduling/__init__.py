"""Which node starts next, and where: schedules, the scheduler of a frame, maps; rooms for ``lanes`` and ``tasks``.

May import ``execution`` and all rooms below it.
"""
