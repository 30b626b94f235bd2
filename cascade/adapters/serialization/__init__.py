"""What crosses to another process: functions, values, context variables, log records, errors.

Knows nothing of how bytes get there, so that every executor that leaves this process can use it.
"""
