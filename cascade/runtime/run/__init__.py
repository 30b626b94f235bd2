"""A run from inside: its scopes, its loop of turns, sub-flows, what is restored."""
