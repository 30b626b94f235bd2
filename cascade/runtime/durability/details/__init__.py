"""What a store keeps of a node beyond its outcome: why it failed, with what it was called, and what it wrote."""

from cascade.runtime.durability.details.records import AttemptRecord, NodeDetail, Remark, SignalRecord

__all__ = ["AttemptRecord", "NodeDetail", "Remark", "SignalRecord"]
