"""Events on their way to those who listen: the bus, its streams and their back-pressure.

May import ``foundation``.
"""
