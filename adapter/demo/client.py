"""The local system's way to the adapters over mutual TLS, and its look into what the receivers hold."""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

import httpx

from adapter.certs import Credential
from adapter.demo.playing import Ended, HandedOver, Notified
from adapter.errors import Fault, PeerFault
from adapter.wire import json

PATIENCE_S: Final = 30.0
"""How long messages may be under way, from the last that ended."""
_LOOK_S: Final = 0.03
_PAGE: Final = 1000
_TRIES: Final = 3


class Client:
    """One region's own system, as a caller of its adapter at ``url``."""

    def __init__(self, url: str, ca: Path, credential: Credential) -> None:
        self.url = url
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(credential.certificate, credential.key)
        self._http = httpx.AsyncClient(verify=context, trust_env=False, timeout=PATIENCE_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def submit(self, document: dict[str, Any]) -> HandedOver:
        status, answer = await self._call("POST", "/records", document)
        if 400 <= status < 500:
            return HandedOver(refused=_code(answer))
        if status != 202:
            raise _unexpected("/records", status)
        return HandedOver(
            tuple(message["id"] for message in answer["messages"]),
            notified=tuple(Notified(each["to"], each["id"], each["message"] or "") for each in answer["notified"]),
        )

    async def pause(self, recipient: str) -> None:
        await self._act(f"/destinations/{recipient}/pause")

    async def resume(self, recipient: str) -> None:
        await self._act(f"/destinations/{recipient}/resume")

    async def ended(self, messages: Sequence[str]) -> Mapping[str, Ended]:
        """Wait until all have ended; give up when none has for ``PATIENCE_S``, and say "queued" of those that have not."""
        left, deadline = len(messages) + 1, 0.0
        while True:
            found = await self._messages(set(messages))
            waiting = [each for each in found.values() if each.state == "queued"]
            if len(waiting) < left:
                left, deadline = len(waiting), time.monotonic() + PATIENCE_S
            if not waiting or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_LOOK_S)

    async def acknowledged(self) -> frozenset[str]:
        answer = await self._got("/withdrawals?state=acknowledged")
        return frozenset(each["id"] for each in answer["withdrawals"])

    async def changes(self) -> list[dict[str, Any]]:
        """Everything in the change feed: what peers have sent, as records."""
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            answer = await self._got(f"/records/changes?after={after}&limit={_PAGE}")
            found += answer["changes"]
            if len(answer["changes"]) < _PAGE:
                return found
            after = answer["next"]

    async def held(self) -> list[tuple[dict[str, Any], bytes]]:
        """What a stand-in receiver was sent: what is told about each request, and its body."""
        answer = await self._got("/held")
        return [(row, b64decode(row.pop("body"))) for row in answer["held"]]

    async def _messages(self, wanted: set[str]) -> dict[str, Ended]:
        """As the queue lists them, the newest first."""
        found: dict[str, Ended] = {}
        limit = min(max(len(wanted), 20), _PAGE)
        page = f"/queue?limit={limit}"
        while wanted - found.keys():
            rows = (await self._got(page))["messages"]
            found |= {
                row["id"]: Ended(row["state"], row.get("reason", ""), row["requestId"])
                for row in rows
                if row["id"] in wanted
            }
            if len(rows) < limit:
                break
            page = f"/queue?limit={limit}&before={rows[-1]['number']}"
        return found

    async def _act(self, path: str) -> None:
        status, _ = await self._call("POST", path, {"why": "demo"})
        if status != 204:
            raise _unexpected(path, status)

    async def _got(self, path: str) -> dict[str, Any]:
        status, answer = await self._call("GET", path)
        if status != 200:
            raise _unexpected(path.partition("?")[0], status)
        return answer

    async def _call(self, method: str, path: str, document: Any = None) -> tuple[int, dict[str, Any]]:
        """One call. It is repeated under one request id when the connection breaks: that takes effect once."""
        headers = {"X-Request-Id": str(uuid4())}
        content = None
        if document is not None:
            headers["Content-Type"] = "application/json"
            content = json.write(document)
        for left in reversed(range(_TRIES)):
            try:
                answer = await self._http.request(method, self.url + path, content=content, headers=headers)
            except httpx.HTTPError as error:
                if not left:
                    raise PeerFault(Fault("demo.no-answer", path.partition("?")[0], type(error).__name__)) from None
                await asyncio.sleep(_LOOK_S)
            else:
                return answer.status_code, json.read(answer.content, require_object=True) if answer.content else {}
        raise AssertionError("unreachable")


def _code(outcome: Mapping[str, Any]) -> str:
    """The stable code of the first issue, without the prefix that tells who must act."""
    code: str = outcome["issue"][0]["details"]["coding"][0]["code"]
    return code.partition("_")[2]


def _unexpected(path: str, status: int) -> PeerFault:
    return PeerFault(Fault("demo.unexpected-answer", path, f"HTTP {status}"))
