"""Parts that know no run: giving way, threads, cancellation, context variables, the simulation seam.

Imports no other room.
"""
