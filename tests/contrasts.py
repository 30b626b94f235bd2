"""How well colours are told apart (WCAG 2.2, success criterion 1.4.3): letters need 4.5."""

from __future__ import annotations


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, each as ``#rrggbb``: from 1 to 21."""
    dark, bright = sorted(map(_luminance, (one, other)))
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(part * share for part, share in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))
