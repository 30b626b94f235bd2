"""A run from outside: the engine, the handle of a live run, what URLs stand for.

May import every other room.
"""
