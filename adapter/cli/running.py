"""``koord serve``, ``worker``, ``demo``, ``mock``: what runs until it is told to stop, or plays its part and ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapter.cli.installation import config, settings_of
from adapter.cli.terminal import OK, Command, language

if TYPE_CHECKING:
    from adapter.settings import Settings


@click.command(cls=Command)
@config
def serve(config: Path) -> int:
    """Serve FHIR and the records API, and deliver what is queued, until told to stop."""
    from adapter.service import serve as run

    run(settings_of(config))
    return OK


@click.command(cls=Command)
@config
def worker(config: Path) -> int:
    """Deliver what is queued, without serving anything, until told to stop. Several may share one store."""
    import asyncio

    asyncio.run(_work(settings_of(config)))
    return OK


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="The verdict as one JSON document.")
@click.option("--keep", is_flag=True, help="Leave everything running, say where, until interrupted.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Put certificates, databases and logs there, and leave them."
)
def demo(*, as_json: bool, keep: bool, folder: Path | None) -> int:
    """
    Run the main job on this machine with the real parts.

    Two regions' adapters and stand-ins for the other recipients start as processes, the shipped scenarios are played, and
    each receiver is asked what it holds. Ends with 0 only if every outcome is as the scenarios say.
    """
    from adapter.demo import run

    return run(as_json=as_json, keep=keep, folder=folder, language=language())


@click.command(cls=Command, context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mock(arguments: tuple[str, ...]) -> int:
    """Run a stand-in receiver that keeps what it is sent, for tests."""
    from adapter.mock import main

    main.main(list(arguments), prog_name="koord mock", standalone_mode=False)
    return OK


async def _work(settings: Settings) -> None:
    """A dispatcher; when told to stop, what is under way ends first."""
    import asyncio
    import os
    import signal
    import socket
    from contextlib import suppress

    from adapter.flows import Adapter, Dispatcher

    adapter = Adapter.open(settings)
    try:
        working = asyncio.create_task(Dispatcher(adapter, owner=f"{socket.gethostname()}-{os.getpid()}").run())
        for stop in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(stop, working.cancel)
        with suppress(asyncio.CancelledError):
            await working
    finally:
        await adapter.close()
