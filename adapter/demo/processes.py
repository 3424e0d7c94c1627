"""Programs of this installation as child processes: started, waited for, stopped; what they say kept in files."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from adapter.errors import AdapterError, Fault, PeerFault, Unreadable
from adapter.wire import json

START_S: Final = 30.0
STOP_S: Final = 5.0
_LOOK_S: Final = 0.02

Arguments: TypeAlias = Sequence[str | Path]


@dataclass
class Program:
    """
    One child: ``python -m`` with ``arguments``. It says ``{"ready": url}`` on its first line when it takes calls. ``log``
    is what it writes to stderr; its number is in ``{name}.pid``. It runs in a session of its own, so that Ctrl-C reaches only us, who stop it.
    """

    name: str
    arguments: Arguments
    folder: Path
    url: str = ""
    process: Process | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    async def start(self) -> None:
        """
        Start it and wait until it is ready.

        Raises:
            PeerFault: ``demo.not-started``, ``demo.too-slow``: it ended, or said nothing for 30 seconds.
        """
        said = self.folder / f"{self.name}.out"
        with said.open("wb") as out, self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *map(str, self.arguments),
                stdin=DEVNULL,
                stdout=out,
                stderr=log,
                env=_environment(),
                cwd=self.folder,
                start_new_session=True,
            )
        (self.folder / f"{self.name}.pid").write_text(f"{self.process.pid}\n")
        deadline = time.monotonic() + START_S
        while not (line := said.read_bytes()).endswith(b"\n"):
            if self.process.returncode is not None:
                raise self._fault("demo.not-started")
            if time.monotonic() > deadline:
                raise self._fault("demo.too-slow")
            await asyncio.sleep(_LOOK_S)
        try:
            self.url = str(json.read(line.splitlines()[0], require_object=True)["ready"])
        except (Unreadable, KeyError):
            raise self._fault("demo.not-started") from None

    async def stop(self) -> None:
        """Ask it to end, and end it if it does not within 5 seconds."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_S)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it at once, as a power failure does."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    def must_run(self) -> None:
        """
        Raises:
            PeerFault: ``demo.ended``: it has ended though nobody stopped it.
        """
        if self.process is not None and self.process.returncode is not None:
            raise self._fault("demo.ended")

    def _fault(self, code: str) -> AdapterError:
        """Which program, and the last it said. Its log holds no personal data, as no log of the adapter does."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        status = self.process.returncode if self.process else None
        ended = "" if status is None else f"exit code {status}"
        why = "; ".join(part for part in (ended, lines[-1].strip() if lines else "") if part)
        return PeerFault(Fault(code, self.name, why, named=(("program", self.name),)))


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens at now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _environment() -> Mapping[str, str]:
    """Ours, but for settings of an adapter that is installed here: the demo's have their own files."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KOORD_")} | {
        "PYTHONUNBUFFERED": "1"
    }
