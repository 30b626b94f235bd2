"""How a plan is run, on AnyIO and attrs only: eleven rooms, each of which imports only those below it.

From the top: ``engine``, ``run``, ``scheduling``, ``execution``, ``context``, ``control`` and ``durability``
(side by side), ``admission``, ``observation``, ``frame``, ``foundation``.
"""
