"""Nodes with tasks of their own, and how most of those that wait do without."""
