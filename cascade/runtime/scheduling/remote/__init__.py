"""Lanes of a remote executor: plain nodes go to workers in batches.

``gathering`` says which nodes go together, ``batch`` is one batch on its way, ``lanes`` hands them over and
settles their nodes. Which values stay on the cluster is said by ``keeping``, one room up, for single calls too.
"""
