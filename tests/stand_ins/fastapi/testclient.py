"""The client with which applications are tested: it runs one on an event loop in another thread."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any, Self

import attrs
from anyio.from_thread import BlockingPortal, start_blocking_portal

from fastapi import FastAPI


@attrs.frozen
class Response:
    status_code: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class TestClient:
    __test__ = False  # for pytest, which takes classes of such names for tests

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._open = ExitStack()
        self._portal: BlockingPortal

    def __enter__(self) -> Self:
        self._portal = self._open.enter_context(start_blocking_portal())
        self._open.enter_context(self._portal.wrap_async_context_manager(self._app.lifespan(self._app)))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _request(self, method: str, path: str) -> Response:
        status_code, content = self._portal.call(self._app.respond, method, path)
        return Response(status_code, json.dumps(content))

    def get(self, path: str) -> Response:
        return self._request("GET", path)

    def post(self, path: str) -> Response:
        return self._request("POST", path)
