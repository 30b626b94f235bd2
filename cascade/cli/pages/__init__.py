"""Pictures and pages on the command line: ``cascade graph``, ``report`` and ``page``, and options of ``run``."""
