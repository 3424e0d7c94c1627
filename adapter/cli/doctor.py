"""``koord doctor``: looks at everything that a start needs, and says what is well, what is not, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from adapter.cli.installation import config, settings_of
from adapter.cli.terminal import OK, Command, language, put, put_json
from adapter.errors import AdapterError, Fault

if TYPE_CHECKING:
    from adapter.settings import Settings
    from adapter.store import Store, Transaction

MADE: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock that is right says an earlier time."""
ENDS_SOON: Final = timedelta(days=30)
LEAST_ROOM_MB: Final = 500
_OLDEST_SQLITE: Final = (3, 35)
_STATUS: Final = {
    "information": {"en": "ok", "sv": "ok"},
    "warning": {"en": "warning", "sv": "varning"},
    "error": {"en": "failed", "sv": "fel"},
}


@click.command(cls=Command)
@config
@click.option("--json", "as_json", is_flag=True, help="JSON in place of lines.")
def doctor(config: Path, *, as_json: bool) -> int:
    """
    Look through the installation: program, clock, settings, keys, certificates, tables, store, destinations.

    Nothing is sent and nothing is changed. Ends with 3 for the configuration, 4 for a destination, 6 for the store.
    """
    found: list[Fault] = []
    for each in _examined(config):
        found.append(each)
        if not as_json:
            put(_line(each))
    if as_json:
        put_json([_row(each) for each in found])
    return next((each.entry.exit for each in found if each.severity == "error"), OK)


def _examined(path: Path) -> Iterator[Fault]:
    yield _python()
    try:
        settings = settings_of(path)
    except AdapterError as error:
        yield from error.faults
        return
    yield _well("doctor.config", str(path))
    yield _clock(settings)
    yield from _certificates(settings)
    yield from _tables(settings)
    yield from _store(settings)
    yield _audit(settings)
    yield from _destinations(settings)


def _python() -> Fault:
    import platform
    import sqlite3

    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        return Fault("doctor.sqlite-old", "python", versions)
    return _well("doctor.python", "python", versions)


def _clock(settings: Settings) -> Fault:
    now = datetime.now(UTC)
    try:
        written = datetime.fromtimestamp(settings.store.path.stat().st_mtime, UTC)
    except OSError:
        written = MADE
    if now < max(written - timedelta(minutes=1), MADE):
        return Fault("doctor.clock-behind", "clock", now.isoformat(timespec="seconds"))
    return _well("doctor.clock", "clock", now.isoformat(timespec="seconds"))


def _certificates(settings: Settings) -> Iterator[Fault]:
    from cryptography import x509

    named = {"server.tls.certificate": settings.server.tls.certificate} if settings.server.tls else {}
    for place, link in settings.links.values():
        if link.tls.certificate is not None:
            named[f"{place}.tls.certificate"] = link.tls.certificate
    now = datetime.now(UTC)
    for place, path in named.items():
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        until = certificate.not_valid_after_utc
        told = (("until", until.date().isoformat()),)
        if not certificate.not_valid_before_utc <= now <= until:
            yield Fault("doctor.certificate-ended", place, named=told)
        elif until - now < ENDS_SOON:
            yield Fault("doctor.certificate-ends", place, named=told, severity="warning")
        else:
            yield Fault("doctor.certificate", place, named=told, severity="information")


def _tables(settings: Settings) -> Iterator[Fault]:
    from adapter.consent import disclosure
    from adapter.tables import load_every

    try:
        load_every(settings.overlays)
        disclosure.load()
    except AdapterError as error:
        yield from error.faults
        return
    yield _well("doctor.tables", "tables")


def _audit(settings: Settings) -> Fault:
    if settings.audit is None:
        return Fault("doctor.log-unsigned", "audit", severity="warning")
    return _well("doctor.log", "audit")


def _store(settings: Settings) -> Iterator[Fault]:
    import shutil

    from adapter.store import Store, load_keys

    path = settings.store.path
    try:
        free = shutil.disk_usage(path.parent).free // 1_000_000
    except OSError:
        yield Fault("store.unreadable", "store.path")
        return
    if free < LEAST_ROOM_MB:
        yield Fault("doctor.room", "store.path", named=(("least", str(LEAST_ROOM_MB)),), severity="warning")
    if not path.exists():
        yield _well("doctor.store-new", "store.path")
        return
    try:
        with Store.open(path, load_keys(settings.store.key_file)) as store:
            yield _whole(store)
            yield from _withdrawals(store)
            yield from _entries(store)
    except AdapterError as error:
        yield from error.faults


def _whole(store: Store) -> Fault:
    def look(transaction: Transaction) -> bool:
        return transaction.one("PRAGMA quick_check(1)") == ("ok",)

    return (
        _well("doctor.store", "store.path") if store.read(look).result() else Fault("doctor.store-broken", "store.path")
    )


def _withdrawals(store: Store) -> Iterator[Fault]:
    from adapter.store import withdrawals

    counted = store.read(withdrawals.overview, now=datetime.now(UTC)).result()
    overdue = counted["overdue"] + counted["undeliverable"]
    if counted["late"]:
        yield Fault("doctor.withdrawals-late", "withdrawals", named=(("count", str(counted["late"])),))
    if overdue:
        yield Fault("doctor.withdrawals-overdue", "withdrawals", named=(("count", str(overdue)),))
    if not counted["late"] and not overdue:
        yield _well("doctor.withdrawals", "withdrawals")


def _entries(store: Store) -> Iterator[Fault]:
    from adapter.store import journal

    waiting = store.read(journal.waiting).result()
    if waiting.entries:
        told = (("count", str(waiting.entries)), ("since", waiting.oldest.isoformat() if waiting.oldest else ""))
        yield Fault("doctor.entries-waiting", "journal", "PDL 3 kap. 11 §", named=told, severity="warning")


def _destinations(settings: Settings) -> Iterator[Fault]:
    import asyncio

    from adapter.settings import JOURNAL
    from adapter.transport.rest import Rest

    async def reached() -> list[str | None]:
        async with Rest(settings) as rest:
            return await asyncio.gather(*map(rest.reach, settings.links))

    try:
        for name, code in zip(settings.links, asyncio.run(reached()), strict=True):
            well = "doctor.journal" if name == JOURNAL else "doctor.destination"
            yield Fault(code, name) if code else _well(well, name)
    except AdapterError as error:
        yield from error.faults
    if settings.journal is None:
        yield _well("doctor.journal-none", "journal", "PDL 3 kap. 11 §")


def _well(code: str, where: str, why: str = "") -> Fault:
    return Fault(code, where, why, severity="information")


def _line(fault: Fault) -> str:
    said = f"{_STATUS[fault.severity][language()]:<8} {fault.where}: {fault.says(language())}"
    why = f" [{fault.why}]" if fault.why else ""
    return f"{said}{why}" if fault.severity == "information" else f"{said}{why} {fault.do(language())} ({fault.code})"


def _row(fault: Fault) -> dict[str, str]:
    return {
        "status": _STATUS[fault.severity]["en"],
        "where": fault.where,
        "code": fault.code,
        "says": fault.says(language()),
        "why": fault.why,
        "do": "" if fault.severity == "information" else fault.do(language()),
    }
