"""Documents of runs, from their events."""

from __future__ import annotations

import json
from typing import Any

import cascade
from cascade.adapters.pages.document.chronicle import KINDS, Chronicle


def followed(chronicle: Chronicle) -> Any:
    """An observer that tells *chronicle*."""

    async def follow(events: Any) -> None:
        async for event in events:
            chronicle.hear(event)

    follow.kinds = KINDS  # type: ignore[attr-defined]  # as observers name what they want
    return follow


async def documented(flow: Any, **settings: Any) -> dict[str, Any]:
    """The document of a run of *flow*, as JSON has it."""
    chronicle = Chronicle()
    try:
        await cascade.run(flow, observers=[followed(chronicle)], **settings)
    except Exception:  # which the document tells of
        assert settings.get("fails", True)
    return dict(json.loads(json.dumps(chronicle.document(), allow_nan=False)))
