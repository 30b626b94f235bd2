"""What belongs to one run, and what the runs of an engine share: ``RunContext``, settings, resources.

May import ``control``, ``durability`` and all rooms below them.
"""
