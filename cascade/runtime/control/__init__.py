"""Control rules in force, and the link to other processes that set rules and watch runs.

May import ``admission``, ``observation`` and ``foundation``; not ``durability``.

A rule is data (``model/rules.py``). The plane makes it *standing*, with its counts, its token bucket and its end,
and gives all admissions the same list. A new rule closes the gate: the epoch changes, threads that are crossing
are waited for (microseconds), and attempts that run in lanes are given claims, so that limits count them. While
any rule stands, nodes leave the lanes and are admitted one by one; without rules, none of this is asked.

Time (expiry, the next token) is kept by one task, which sleeps until the next change is due. A connector is kept
connected by one task too. Each of the two belongs to one of the runs, and another run takes over when that one
ends; so nothing outlives the last run. A rule that came over a connector is acknowledged by the topic and the
hash of its message, so other programs may publish rules without ids. The events of a run are subscribed to only
while somebody listens, if the connector can tell (``Attentive``): a subscriber to node events keeps nodes off the
fast paths. Draining is no rule: it cannot be lifted, and it leaves nodes unsettled.
"""
