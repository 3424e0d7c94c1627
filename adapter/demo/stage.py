"""The cast on stage: every program running, and what each receiver holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from adapter.certs import Authority, Credential
from adapter.demo import cast
from adapter.demo.client import PATIENCE_S, Client
from adapter.demo.judging import Held, last_words
from adapter.demo.processes import Program, free_ports
from adapter.store import Store, Transaction, inbox, load_keys, records
from adapter.wire import json

SENDER: Final = "region-a"
HOST: Final = "127.0.0.1"
_MOST: Final = 1_000_000
_LOOK_S: Final = 0.1


@dataclass
class Stage:
    """
    Region A's adapter, its journal and all its receivers as processes over loopback TLS, in ``folder``. Use as an asynchronous context
    manager: leaving it ends them all. ``mock_options``: more options of ``adapter.mock``, by receiver. ``shown``: the local
    system's certificate and key; ``ca``: who issued all of them.
    """

    folder: Path
    mock_options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    shown: Credential = field(init=False)
    ca: Path = field(init=False)

    async def __aenter__(self) -> Self:
        self._prepare()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(program.stop() for program in self.programs.values()))

    async def start(self, started: Callable[[str], None] = lambda _: None) -> None:
        """
        Start all programs at once; ``started`` is told the name of each that is ready.

        Raises:
            PeerFault: one of them did not start.
        """

        async def one(program: Program) -> None:
            await program.start()
            started(program.name)

        starting = [asyncio.create_task(one(program)) for program in self.programs.values()]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    def must_run(self) -> None:
        """
        Raises:
            PeerFault: ``demo.ended``: a program has ended though nobody stopped it.
        """
        for program in self.programs.values():
            program.must_run()

    def local_system(self) -> Client:
        """Region A's own coordination system, as a client of region A's adapter."""
        return self._client(SENDER)

    def is_adapter(self, name: str) -> bool:
        """Whether a program is an adapter, as against a stand-in."""
        return name == SENDER or any(receiver.id == name and receiver.adapter for receiver in cast.RECEIVERS)

    async def held(self, asked: Callable[[str], None] = lambda _: None) -> dict[str, list[Held]]:
        """
        What each receiver holds: the stand-ins tell themselves; the other region by its change feed and its store.
        ``asked`` is told the name of each that has answered.
        """
        found: dict[str, list[Held]] = {}
        for receiver in cast.RECEIVERS:
            async with self._client(receiver.id) as client:
                if receiver.adapter:
                    feed = {change["sequence"]: change for change in await client.changes()}
                    found[receiver.id] = self._kept(receiver.id, feed)
                else:
                    found[receiver.id] = await _taken(client)
            asked(receiver.id)
        return found

    async def entries(self, messages: Collection[str]) -> Mapping[str, str]:
        """
        The journal's last word about each message. It is told after the message has ended: wait until it says that all of
        these were sent, as long as that makes sense.
        """
        deadline = time.monotonic() + PATIENCE_S
        async with self._client(cast.JOURNAL) as client:
            while True:
                told = last_words(await _taken(client))
                if all(told.get(each) == "completed" for each in messages) or time.monotonic() > deadline:
                    return told
                await asyncio.sleep(_LOOK_S)

    def _kept(self, receiver: str, feed: Mapping[int, Any]) -> list[Held]:
        """The originals that an adapter keeps, each with the record that its feed made of it."""
        folder = self.folder / receiver

        def originals(tx: Transaction) -> list[Held]:
            return [
                Held(version.request_id, kept.original, json.write(feed[version.sequence]))
                for version in records.changes(tx, 0, _MOST, origin="peer")
                if (kept := inbox.kept(tx, version.source, version.request_id)) and kept.original is not None
            ]

        with Store.open(folder / "koord.sqlite", load_keys(folder / "store.keys")) as store:
            return store.read(originals).result()

    def _client(self, name: str) -> Client:
        return Client(self.programs[name].url, self.ca, self.shown)

    def _prepare(self) -> None:
        """Certificates, keys, settings: everything that the programs read when they start."""
        authority = Authority.create(self.folder / "pki")
        self.ca = authority.certificate
        self.shown = authority.issue_client("local-system", cast.LOCAL_SYSTEM)
        region_a = authority.issue_client("region-a-client", cast.PROVIDER_A)
        names = [SENDER, cast.JOURNAL, *(receiver.id for receiver in cast.RECEIVERS)]
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        urls = {name: f"https://{HOST}:{port}/fhir" for name, port in ports.items()}
        for name, port in ports.items():
            (self.folder / name).mkdir()
            credential = authority.issue_server(f"{name}-server")
            if not self.is_adapter(name):
                self.programs[name] = self._mock(name, port, credential)
                continue
            reached = cast.server(HOST, port, credential, self.ca)
            settings = cast.receiver_settings(self.folder / name, reached)
            if name == SENDER:
                settings = cast.sender_settings(self.folder / name, urls, region_a, self.ca, reached)
            self.programs[name] = self._adapter(name, settings)

    def _adapter(self, name: str, settings: Mapping[str, Any]) -> Program:
        folder = self.folder / name
        cast.make_keys(folder)
        config = folder / "koord.toml"
        config.write_text(cast.as_toml(settings), "utf-8")
        return Program(name, ["adapter.cli", "serve", "--config", config], self.folder)

    def _mock(self, name: str, port: int, credential: Credential) -> Program:
        options: list[str | Path] = ["--folder", self.folder / name, "--host", HOST, "--port", str(port)]
        options += ["--cert", credential.certificate, "--key", credential.key, "--ca", self.ca]
        options += ["--reader", cast.LOCAL_SYSTEM, *self.mock_options.get(name, ())]
        return Program(name, ["adapter.mock", *options], self.folder)


async def _taken(client: Client) -> list[Held]:
    """What a stand-in has accepted."""
    return [
        Held(about["request_id"], body, json.write(about))
        for about, body in await client.held()
        if about["what"] == "accepted"
    ]
