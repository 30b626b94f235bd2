"""Whether an attempt may start now: capacity, order of waiting, rules, deadlocks."""
