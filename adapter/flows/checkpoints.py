"""
Signing the audit log at intervals, so that what is said of it can be kept elsewhere.

A checkpoint is committed in the store, then appended to the file that the settings name. Several processes of one
installation may do this side by side: each row is spoken of once, and the file gets every checkpoint once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from adapter.certs import audit_key
from adapter.errors import AdapterError, Fault, Misconfigured
from adapter.settings import Audit, Settings
from adapter.store import Store, checkpoints
from adapter.store.checkpoints import Checkpoint

log = logging.getLogger("adapter.audit")

_LOOK_S: Final = 5.0


async def sign(store: Store, settings: Settings, clock: Callable[[], datetime]) -> Checkpoint | None:
    """
    Make checkpoints until every row is spoken of, and append them to the file; the newest, or None if the log is empty.

    Raises:
        Misconfigured: ``config.missing``: the settings have no part ``audit``.
        StoreFault: the store or the file cannot be written.
    """
    if settings.audit is None:
        raise Misconfigured(Fault("config.missing", "audit"))
    return await _sign(store, settings.audit, clock)


async def sign_regularly(store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
    """
    Until cancelled: sign as often as the settings say, and once more in the end. Without a part ``audit`` nothing is signed.

    A fault is logged, and it is tried again: what is sent does not wait for it.
    """
    if settings.audit is None:
        return
    try:
        while True:
            await asyncio.sleep(_LOOK_S)
            await _tried(store, settings.audit, clock, in_the_end=False)
    finally:
        await _tried(store, settings.audit, clock, in_the_end=True)


async def _tried(store: Store, audit: Audit, clock: Callable[[], datetime], *, in_the_end: bool) -> None:
    try:
        if in_the_end or await _due(store, audit, clock()):
            await _sign(store, audit, clock)
    except (AdapterError, OSError, ValueError) as error:
        code = error.first.code if isinstance(error, AdapterError) else type(error).__name__
        log.error("checkpoint failed: %s", code)  # noqa: TRY400  a trace could hold a path or a key


async def _due(store: Store, audit: Audit, now: datetime) -> bool:
    rows, oldest = await store.read(checkpoints.waiting)
    late = oldest is not None and now - oldest >= timedelta(minutes=audit.every_minutes)
    return late or rows >= audit.every_rows


async def _sign(store: Store, audit: Audit, clock: Callable[[], datetime]) -> Checkpoint | None:
    key = audit_key(audit.key_file)
    while await store.write(checkpoints.make, key, now=clock()) is not None:
        pass
    await asyncio.to_thread(
        checkpoints.keep, audit.checkpoint_file, lambda number: store.read(checkpoints.after, number).result()
    )
    return await store.read(checkpoints.newest)
