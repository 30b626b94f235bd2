"""Pages on the command line: ``cascade run --page`` and ``cascade page``."""
