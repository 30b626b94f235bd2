"""One run as a whole: preparation, its scopes from first to last event, its loop of turns, sub-flows.

May import ``scheduling`` and all rooms below it.
"""
