"""Which node starts next, and where: schedules, the scheduler of a frame, maps; and the room of ``lanes``.

May import ``execution`` and all rooms below it.
"""
