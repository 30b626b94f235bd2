"""Signals: values that are sent to a run while it goes on.

May import ``control``, ``durability`` and the rooms below; not ``context``.

``Signals`` knows which signals a run has, which of them have a value, and which nodes wait. A value that is sent
is checked, written to the store if there is one (where the first value of a name stands), and then given to all
nodes that wait for it. Nodes that wait hold nothing. One task of the run, ``Watch``, sees to all timeouts, looks
for what other processes have written to the store, and finds out that nothing is left but to wait for signals.
"""
