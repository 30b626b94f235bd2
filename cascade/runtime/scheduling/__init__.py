"""Which node starts next, and where: schedules, the scheduler of a frame, lanes, maps, hot loops.

May import ``execution`` and all rooms below it.

Lanes and hot loops are faster because they skip work; they never decide anew what a node means. Whether work may
be skipped follows from the plan and from what is in force at that moment, so a rule, a listener or a failure
takes effect before the next node.
"""
