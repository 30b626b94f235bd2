"""Lanes: plain nodes, called one after another without a task for each.

May import ``frame_context`` and what that imports, and never the scheduler: to a lane, it is an ``Owner``.

Lanes and hot loops are faster because they skip work; they never decide anew what a node means. Whether work may
be skipped follows from the plan and from what is in force at that moment, so a rule, a listener or a failure
takes effect before the next node.
"""
