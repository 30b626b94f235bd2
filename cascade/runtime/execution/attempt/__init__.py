"""One attempt: its start mark, its times, who calls the function, and who watches it.

Knows nothing of jobs, caches and retries.
"""
