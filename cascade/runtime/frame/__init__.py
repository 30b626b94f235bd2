"""One turn: where each of its nodes stands, what it gave, and what follows when it settles.

``Frame`` is what others hold. Its parts have one question each: which node has no value and why (``Gaps``), whose
value is still needed (``Demand``), who waits for what (``Readiness``), and what routers make of it (``Routing``
over ``Gating``).
"""
