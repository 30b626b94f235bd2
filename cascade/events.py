"""The events of a run: what observers and subscribers receive."""

from cascade.model.events import *  # noqa: F403  # the module lists what it exports
from cascade.model.events import __all__ as __all__
