"""Maps that follow others item by item, in the eager schedule.

A map *follows* another one if a column of it is that map, or how its items end (``settled``). It begins when the
other one has begun and all else that it needs has settled, and an item of it starts as soon as the items in its
row have a value; where failures are values, or outcomes are taken, as soon as they have ended. ``Chains`` knows
which maps of a frame follow which, ``Supply`` are the items of a map as its followers see them, ``Feed`` is one
column of a follower, and ``Intake`` is all that a follower takes.
"""
