"""
Who calls, and whether its role lets it in: decided before a byte of the body is read.

A route is either ``opened`` to everyone or ``guarded`` for one role; there is no third way to add one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import Request, Response

from adapter.definitions import Release
from adapter.errors import Denied, Fault, Invalid
from adapter.flows import Adapter
from adapter.mapping import Resource
from adapter.service.negotiation import media_asked, media_sent
from adapter.service.visit import Visit, visit_of
from adapter.settings import Role
from adapter.store import inbox
from adapter.transport.login import Caller, Login, NotAuthenticated
from adapter.wire import Limits, bodies, json
from adapter.wire.media import Media

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call to one route."""

    adapter: Adapter
    request: Request
    visit: Visit

    @property
    def media(self) -> Media:
        """The form and release that the answer is wanted in."""
        return media_asked(self.request)

    def place(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def allow_parameters(self, *known: str) -> dict[str, str]:
        """
        The parameters in the address, each at most once.

        Raises:
            Invalid: ``exchange.parameter``: one that is not known, or known and repeated.
        """
        given = self.request.query_params.multi_items()
        found = dict(given)
        if len(found) != len(given) or not found.keys() <= set(known):
            raise Invalid(Fault("exchange.parameter", "query", named=(("known", ", ".join(known)),)))
        return found

    async def resource(self) -> tuple[Resource, bytes, Release]:
        """
        The FHIR resource in the body, read strictly, the body as it came, and its release.

        Raises:
            Invalid: ``exchange.media-type``. Unreadable: with line and column.
        """
        media = media_sent(self.request)
        original = await self.request.body()
        return bodies.read(original, media, limits=self._limits), original, media.release

    async def document(self) -> Any:
        """
        The JSON in the body, read strictly.

        Raises:
            Invalid: ``exchange.media-type``. Unreadable: with line and column.
        """
        media_sent(self.request, only_json=True)
        return json.read(await self.request.body(), limits=self._limits)

    @property
    def _limits(self) -> Limits:
        return Limits(size=self.adapter.settings.server.limits.body_bytes)


class Door:
    """
    Makes endpoints of handlers.

    Raises:
        Misconfigured: a peer's key set cannot be used.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._login = Login(adapter.settings, self._seen_once)

    def opened(self, handler: Callable[[Call], Awaitable[Response]]) -> Endpoint:
        """For everyone, without login."""

        async def endpoint(request: Request) -> Response:
            return await handler(Call(self._adapter, request, visit_of(request)))

        return endpoint

    def guarded(self, role: Role, handler: Callable[[Call, Caller], Awaitable[Response]]) -> Endpoint:
        """For callers with this role."""

        async def endpoint(request: Request) -> Response:
            call = Call(self._adapter, request, visit_of(request))
            return await handler(call, await self._admitted(call, role))

        return endpoint

    async def _admitted(self, call: Call, role: Role) -> Caller:
        try:
            caller = await self._login.caller(call.request.scope, now=self._adapter.clock())
        except NotAuthenticated as error:
            call.visit.reason = error.reason
            raise
        call.visit.peer = caller.peer
        if role not in caller.roles:
            raise Denied(Fault("exchange.forbidden", why=f"role {role}"))
        return caller

    async def _seen_once(self, issuer: str, jti: str, /, *, expires: datetime, now: datetime) -> bool:
        return await self._adapter.store.write(inbox.seen_once, issuer, jti, expires=expires, now=now)
