"""The part of FastAPI that the documentation uses, for tests where FastAPI is not installed.

Routes with names in their paths, a lifespan, ``HTTPException``. As in FastAPI, an async endpoint runs on the event
loop and a plain one in a worker thread of it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

import anyio.to_thread
import attrs

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen
class HTTPException(Exception):
    status_code: int
    detail: str


@attrs.frozen
class _Route:
    method: str
    path: re.Pattern[str]
    status_code: int
    endpoint: Callable[..., Any]


@attrs.define(eq=False)
class FastAPI:
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]
    state: SimpleNamespace = attrs.field(factory=SimpleNamespace)
    _routes: list[_Route] = attrs.field(factory=list)

    def _route(self, method: str, path: str, status_code: int) -> Callable[[F], F]:
        pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))

        def add(endpoint: F) -> F:
            self._routes.append(_Route(method, pattern, status_code, endpoint))
            return endpoint

        return add

    def get(self, path: str, *, status_code: int = 200) -> Callable[[F], F]:
        return self._route("GET", path, status_code)

    def post(self, path: str, *, status_code: int = 200) -> Callable[[F], F]:
        return self._route("POST", path, status_code)

    async def respond(self, method: str, path: str) -> tuple[int, Any]:
        """Status and content of the response to a request."""
        for route in self._routes:
            found = route.path.fullmatch(path)
            if found is None or route.method != method:
                continue
            call = partial(route.endpoint, **found.groupdict())
            try:
                if inspect.iscoroutinefunction(route.endpoint):
                    return route.status_code, await call()
                return route.status_code, await anyio.to_thread.run_sync(call)
            except HTTPException as error:
                return error.status_code, {"detail": error.detail}
        return 404, {"detail": "Not Found"}
