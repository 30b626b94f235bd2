"""Observers: they show the events of runs to people and programs."""
