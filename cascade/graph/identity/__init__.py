"""The three identities of a node: its id, its digest, its shape. They are never mixed.

*Node id*: the place in one graph (``Node.name``). *Digest*: the content, for caching and resuming. *Shape*: the
topology without literals, for the reuse of plans.

``calls`` and ``flows`` make digests, ``topology`` shapes. ``pure`` finds equal calls of pure tasks. ``order`` puts
the members of sets in an order, so that node ids do not depend on hashes.

Node ids are the task's name, numbered from the second occurrence on (``fetch``, ``fetch#2``); items of a map are
``fetch[7]``, and a flow that a node made is below its id (``expand/fetch``). A node of which it is not known what
it does gets a random digest, and with it all that it decides; so no record is ever taken for it.
"""

from cascade.graph.identity.calls import code_of, value_digest
from cascade.graph.identity.flows import Contents, contents_of, digests, item_digest
from cascade.graph.identity.order import SetOrder
from cascade.graph.identity.pure import PureKey, pure_key
from cascade.graph.identity.topology import shape

__all__ = [
    "Contents",
    "PureKey",
    "SetOrder",
    "code_of",
    "contents_of",
    "digests",
    "item_digest",
    "pure_key",
    "shape",
    "value_digest",
]
