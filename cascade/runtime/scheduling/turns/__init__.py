"""Turns of loops that are made in straight-line code, without a frame."""
