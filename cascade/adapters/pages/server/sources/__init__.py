"""Where a page gets what it shows, and where goes what is pressed.

``live.py`` is a run of this process, which ``steering.py`` steers. ``stored.py`` has the runs in a state store,
some of which other processes execute; ``remote.py`` reaches these over a connector. ``beside.py`` has a run of
this process among those of its store. ``pacing.py`` says how often browsers are told, and ``metrics.py`` tells
numbers to Prometheus.
"""
