"""What the page answers to which request."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

import attrs

from cascade.adapters.pages.html import html_page, policy
from cascade.adapters.pages.server.access import CSRF_HEADER, Access
from cascade.adapters.pages.server.listing import list_page
from cascade.adapters.pages.server.messages import PING, Answer, Request, Updates, data, event, text
from cascade.adapters.pages.server.sources.source import RefusedAction, Shown, Source, Update
from cascade.model.errors import StateError
from cascade.model.shown.text import one_line

_METRICS_KIND: Final = "text/plain; version=0.0.4; charset=utf-8"
_METHODS: Final = {"/": "GET", "/run": "GET", "/updates": "GET", "/metrics": "GET", "/act": "POST"}


@attrs.frozen(eq=False)
class Site:
    """The pages about the runs of a source.

    Attributes:
        source: The runs.
        access: Who may ask.
        read_only: Whether nothing can be changed.
        has_metrics: Whether it tells numbers to whoever reaches it.
        link_used: Is called when somebody has opened a link.
        failed: Is told of errors of the page itself.
    """

    source: Source
    access: Access
    read_only: bool
    has_metrics: bool
    link_used: Callable[[], object]
    failed: Callable[[Exception], object]

    async def respond(self, request: Request) -> Answer | Updates:
        """The answer to *request*."""
        try:
            return self._at_the_door(request) or await self._respond(request)
        except StateError as error:  # whoever asks can do more about it than the page
            return text(503, one_line(str(error)))
        except Exception as error:  # whatever it is: no request may end what the page is about
            self.failed(error)
            return text(500, "the page has failed; the run goes on")

    def _at_the_door(self, request: Request) -> Answer | None:
        """The answer that depends on who asks: a refusal, or a welcome; ``None`` for those who may ask."""
        refusal = self.access.refusal(request)
        if refusal is not None:
            return refusal
        if request.method not in ("GET", "POST"):
            return Answer(405, headers={"allow": "GET, POST"})
        if request.path == "/metrics" and self.has_metrics:
            return None
        if request.method == "GET" and request.path == "/" and "key" in request.query:
            return self._opened(request)
        if not self.access.is_known(request):
            return text(403, "open the page with a link that cascade has given; each can be opened once")
        return None

    def _opened(self, request: Request) -> Answer:
        answer = self.access.opened(request, "/" if self.source.start is None else _place_of(self.source.start))
        if "set-cookie" in answer.headers:
            self.link_used()
        return answer

    async def _respond(self, request: Request) -> Answer | Updates:
        method = _METHODS.get(request.path)
        if method is None or (request.path == "/metrics" and not self.has_metrics):
            return text(404, "there is no such page")
        if request.method != method:
            return text(405, f"{request.path} takes {method} only", allow=method)
        run_id = request.query.get("id")
        match request.path:
            case "/":
                return await self._list()
            case "/run":
                return await self._run(run_id or "")
            case "/updates":
                return self._updates(run_id)
            case "/metrics":
                return Answer(200, (await self.source.metrics()).encode(), _METRICS_KIND)
            case _:
                return await self._act(request, run_id or "")

    async def _list(self) -> Answer:
        if self.source.only is not None:
            return text(303, "the run", location=_place_of(self.source.only))
        return _page(list_page(await self.source.runs()))

    async def _run(self, run_id: str) -> Answer:
        shown = await self.source.show(run_id)
        if shown is None:
            return text(404, f"there is no run {one_line(run_id)!r:.200}")
        return _page(
            html_page(
                shown.document,
                svg=shown.svg,
                scripts=("live.js",),
                styles=("live.css",),
                settings=self._settings(run_id, shown),
                has_policy=False,  # a header says it, and what no element can say besides
            )
        )

    def _settings(self, run_id: str, shown: Shown) -> dict[str, Any]:
        """What the script of the page has to know."""
        name = quote(run_id, safe="")
        return {
            "updates": f"/updates?id={name}",
            "act": f"/act?id={name}",
            "list": None if self.source.only is not None else "/",
            "header": CSRF_HEADER,
            "csrf": self.access.csrf,
            "actions": [] if self.read_only else list(shown.actions),
            "whyNot": "this page is read-only" if self.read_only else shown.why_not,
        }

    def _updates(self, run_id: str | None) -> Updates:
        return Updates(written(self.source.list_updates() if run_id is None else self.source.updates(run_id)))

    async def _act(self, request: Request, run_id: str) -> Answer:
        if self.read_only:
            return data(403, {"error": "this page is read-only"})
        if not self.access.may_change(request):
            return data(403, {"error": "this did not come from the page; load it again"})
        try:
            given = json.loads(request.body)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict) or not isinstance(given.get("action"), str):
            return data(400, {"error": "an action is an object of JSON with a name"})
        try:
            said = await self.source.act(run_id, given["action"], given)
        except RefusedAction as error:
            return data(409, {"error": one_line(str(error))})
        return data(200, {"said": one_line(said)})


def _place_of(run_id: str) -> str:
    return f"/run?id={quote(run_id, safe='')}"


def _page(html: str) -> Answer:
    rules = f"{policy(html, connects=True)}; frame-ancestors 'none'"
    return Answer(200, html.encode(), "text/html; charset=utf-8", {"content-security-policy": rules})


async def written(updates: AsyncGenerator[Update, None]) -> AsyncGenerator[bytes, None]:
    """*updates* as they are sent."""
    async with aclosing(updates):
        async for update in updates:
            yield event(update.name, update.data) if update.name else PING
