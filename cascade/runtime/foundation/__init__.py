"""Parts that know no run: the frame, giving way, threads, cancellation, context variables, the simulation seam.

Imports no other room.
"""
