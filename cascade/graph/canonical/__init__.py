"""A canonical hash of values: equal for equal values, in every process and under every hash seed.

It is typed and length-prefixed, so ``1``, ``True``, ``1.0`` and ``"1"`` differ, and no two values share an
encoding. A value counts by its class and by what it holds. Order counts where ``==`` looks at it: not in sets and
plain dicts. A difference that ``==`` does not see and a task can see counts too, as the fold of a datetime: a
result that is computed once more is better than a wrong one. What the hash does not know it refuses; it never
guesses from ``repr`` or ``pickle``, which differ for equal values or agree for unequal ones.

``encoding`` hashes plain values and sequences of bytes. ``forms`` says how the values of a class are taken apart:
``builtin_forms``, ``arrays``, ``frames`` and ``records`` know those of some libraries. ``classes`` and ``places``
say what classes and modules are. ``walk`` makes one digest of all that.
"""

from cascade.graph.canonical.classes import class_name, is_written_in_python
from cascade.graph.canonical.encoding import DIGEST_BYTES, LENGTHS, PLAIN, begun, combine, framed, plain
from cascade.graph.canonical.forms import register_digest
from cascade.graph.canonical.parts import NotDigestibleError, Parts, attributes_of, record
from cascade.graph.canonical.places import home, module_name, namespace_of, qualified_name
from cascade.graph.canonical.walk import Canon, held_by, input_digest

__all__ = [
    "DIGEST_BYTES",
    "LENGTHS",
    "PLAIN",
    "Canon",
    "NotDigestibleError",
    "Parts",
    "attributes_of",
    "begun",
    "class_name",
    "combine",
    "framed",
    "held_by",
    "home",
    "input_digest",
    "is_written_in_python",
    "module_name",
    "namespace_of",
    "plain",
    "qualified_name",
    "record",
    "register_digest",
]
