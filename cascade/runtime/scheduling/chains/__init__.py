"""Maps that follow others item by item, in the eager schedule.

A map *follows* another one if a column of it is that map. It begins when the other one has begun and all else that
it needs has settled, and an item of it starts as soon as the items in its row have a value. ``Chains`` knows which
maps of a frame follow which, ``Supply`` are the items of a map as its followers see them, and ``Intake`` is what a
follower takes from all that it follows.
"""
