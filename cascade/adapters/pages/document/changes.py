"""What has changed in a document since somebody last saw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import attrs


class Mark(NamedTuple):
    """How far somebody has seen a document. Made by :meth:`Changes.since`, and given back to it."""

    version: int = 0
    bars_version: int = -1
    bars: int = 0


NOTHING_SEEN = Mark()


@attrs.define(eq=False)
class Changes:
    """The last known sections of a document, each with the version in which it has changed."""

    _version: int = 0
    _sections: dict[str, Any] = attrs.field(factory=dict)
    _versions: dict[str, int] = attrs.field(factory=dict)

    def since(
        self, mark: Mark, sections: Mapping[str, Any], bars: list[list[Any]], bars_version: int
    ) -> tuple[dict[str, Any], Mark]:
        """What is new to somebody who has seen the document up to *mark*; empty if nothing is.

        Args:
            mark: What they have seen.
            sections: The document as it is now, without its bars.
            bars: Its bars as they are now.
            bars_version: Changes when bars are taken out; until then they are only added.
        """
        changed = [name for name, value in sections.items() if self._sections.get(name, self) != value]
        if changed:
            self._version += 1
            self._sections.update((name, sections[name]) for name in changed)
            self._versions.update(dict.fromkeys(changed, self._version))
        found: dict[str, Any] = {}
        new = {name: value for name, value in sections.items() if self._versions[name] > mark.version}
        if new:
            found["sections"] = new
        start = mark.bars if mark.bars_version == bars_version else 0
        if start < len(bars) or mark.bars_version != bars_version:
            found["bars"] = {"from": start, "add": bars[start:]}
        return found, Mark(self._version, bars_version, len(bars))
