"""Finds what cannot be read in a store, without running code of others."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator

from cascade.runtime.durability.history import Damage, RunRecord

# How a record says that fields of it could not be read.
MARK = "its record is damaged"


def damaged_fields(run: RunRecord) -> Iterator[Damage]:
    """What the record of a run, and those of its nodes, say about themselves."""
    if run.error is not None and MARK in run.error:
        yield Damage(run.run_id, None, MARK + run.error.rpartition(MARK)[2])
    for node in run.nodes:
        if node.error is not None and MARK in node.error:
            yield Damage(run.run_id, node.node_id, MARK + node.error.rpartition(MARK)[2])


def damage_of_pickle(data: object) -> str | None:
    """What is wrong with a pickle, as far as that can be told without unpickling it; ``None`` if nothing is."""
    if data is None:
        return None
    if not isinstance(data, bytes):
        return f"it is of type {type(data).__name__}"
    try:
        end = None
        for opcode, _, place in pickletools.genops(data):
            end = place if opcode.name == "STOP" else end
    except Exception as error:  # it may be anything
        return str(error) or type(error).__name__
    return None if end == len(data) - 1 else "there is more after its end"


def damage_of_digest(data: object) -> str | None:
    """What is wrong with a digest; ``None`` if nothing is."""
    return None if data is None or (isinstance(data, bytes) and data) else "it is no digest"
