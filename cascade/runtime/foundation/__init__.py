"""Things without knowledge of runs: slots of a turn, threads, fairness, cancellation, contexts."""
