"""Commands about recorded runs: one node or the failures of a run, many runs, and what keeps a store in order."""
