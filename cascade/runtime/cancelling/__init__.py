"""Cancelling single nodes while their run goes on: which ones, and what their tasks can be cancelled by.

May import ``admission`` and ``frame``.
"""
