"""What crosses to another process: functions, values, context variables, log records, errors.

It does not know how the bytes travel, so every executor that leaves this process can use it.
"""
