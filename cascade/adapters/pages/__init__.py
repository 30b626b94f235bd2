"""Runs as pages of HTML: ``document`` has what is shown, ``web`` how it looks, ``html`` brings both together."""
