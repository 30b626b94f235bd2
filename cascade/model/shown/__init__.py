"""What people read: texts, labels, and short forms of values, errors and tracebacks, without secrets."""
