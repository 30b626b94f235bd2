"""What every stand-in for a value has in common."""

from __future__ import annotations


class Placeholder:
    """Something in the place of a value that is not known yet: a lazy, a Param, an Env, a Router, an injection.

    May stand anywhere in the arguments of a call, at any depth of lists, tuples, sets, dict values, attrs and
    dataclass instances.
    """

    __slots__ = ()
