"""Tasks of known types, which the other modules here call; checked by mypy and pyright, never run."""

from __future__ import annotations

import cascade


@cascade.task
async def fetch(url: str, retries: int = 3) -> bytes:
    return url.encode() * retries


@cascade.task
def parse(page: bytes) -> list[str]:
    return [page.decode()]


@cascade.task
def number() -> int:
    return 1


@cascade.task
async def word(n: int) -> str:
    return str(n)
