"""
``koord audit``: verify what has been logged, sign it, look into it, hand it over. Who looks is logged with whom it was about.

A patient's number is read from a prompt, standard input or a file, never from the command line, which other users can see.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from adapter.cli.installation import config, operator, settings_of, store_of
from adapter.cli.terminal import OK, Group, finished, language, put, put_json, put_rows, say
from adapter.errors import Fault, Invalid, Misconfigured

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from adapter.flows.reviews import Review, Told
    from adapter.settings import Settings
    from adapter.store import Store
    from adapter.store.audit import Break, Written
    from adapter.store.checkpoints import Checkpoint, Found

_KINDS: Final = ("personnummer", "samordningsnummer", "nationelltReservnummer")
"""The kinds of number that are told apart by their form."""
_HEADINGS: Final = {
    "en": ("Time", "Care unit", "Measure", "Recipient"),
    "sv": ("Tid", "Vårdenhet", "Åtgärd", "Mottagare"),
}

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="JSON in place of columns.")
_since = click.option("--since", metavar="TIME", help="A day or a time; from its beginning.")
_until = click.option("--until", metavar="TIME", help="A day or a time; to its end.")
_patient_file = click.option("--patient-file", type=_file, help="The patient's number is the first line of this file.")
_kind = click.option("--kind", metavar="KIND", help="The kind of number, if it is none of the national ones.")


@click.group(cls=Group)
def audit() -> None:
    """The audit log."""


@audit.command("verify")
@click.argument("export", type=click.File("rb"), required=False)
@config
@click.option(
    "--checkpoint", "files", type=_file, multiple=True, help="Checkpoints that were kept elsewhere, one a line."
)
@click.option("--public-key", "public_keys", type=_file, multiple=True, help="PEM; ours from the settings if left out.")
@click.option("--part", is_flag=True, help="EXPORT is of a period: rows before and after it are not missed.")
def verify(
    export: IO[bytes] | None, config: Path, files: tuple[Path, ...], public_keys: tuple[Path, ...], *, part: bool
) -> int:
    """
    Look for changes in the log, or in EXPORT, and name every one. Ends with 6 if there is one.

    The log of the installation is held against its chain, its signed checkpoints and the file of checkpoints; EXPORT, made by
    `koord audit export`, against the checkpoints in it. With --public-key, EXPORT is verified without any installation.
    """
    from adapter.store import checkpoints

    alone = export is not None and bool(public_keys)
    settings = None if alone else settings_of(config)
    keys = _keys(public_keys, settings)
    elsewhere, breaks = _elsewhere(files)
    if export is not None:
        found = checkpoints.verify_export(export, keys, elsewhere=elsewhere, part=part)
    else:
        found = _verify_store(config, keys, elsewhere, breaks)
    return _tell(found, [*breaks, *found.breaks])


@audit.command("checkpoint")
@config
def checkpoint(config: Path) -> int:
    """Sign the log as it is now, append to the file of checkpoints, and print the newest: keep it on another machine."""
    from adapter.flows.checkpoints import sign

    with _open(config) as (settings, store):
        made = finished(sign(store, settings, _now))
    if made is not None:
        put(made.line())
    return OK


@audit.command("key")
@config
def key(config: Path) -> int:
    """Print the public key (PEM) for those who verify."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from adapter.certs import audit_key

    settings = settings_of(config)
    if settings.audit is None:
        raise Misconfigured(Fault("config.missing", "audit"))
    public = audit_key(settings.audit.key_file).public_key()
    put(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return OK


@audit.command("search")
@config
@click.option("--patient", is_flag=True, help="Ask for a patient's number, or read it from standard input.")
@_patient_file
@_kind
@click.option("--event", metavar="EVENT", help="For example message.delivered, or all of a family: message.")
@click.option("--who", metavar="USER", help="An operator, a peer, or adapter.")
@click.option("--outcome", type=click.Choice(["ok", "refused"]))
@_since
@_until
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="The newest so many.")
@_json
def search(config: Path, *, limit: int, as_json: bool, **asked: Any) -> int:
    """Show entries of the log. That it was searched, by whom and about which patient, is entered in it first."""
    with _review(config) as review:
        found = finished(review.search(_query(review, **asked), limit=limit))
    put_rows([_row(each, as_json=as_json) for each in found], as_json=as_json)
    return OK


@audit.command("sample")
@config
@click.option("--n", "n", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, at least.")
@click.option("--seed", required=True, help="The same seed gives the same entries.")
@_since
@_until
@_json
def sample(config: Path, n: int, seed: str, *, as_json: bool, **asked: Any) -> int:
    """
    Draw entries about patients for a systematic check (HSLF-FS 2016:40, 4 kap. 9 §).

    At least one of each user at each care unit is drawn. Name a period that has passed, and the draw can be repeated.
    """
    with _review(config) as review:
        found = finished(review.sample(_query(review, **asked), n=n, seed=seed))
    put_rows([_row(each, as_json=as_json) for each in found], as_json=as_json)
    return OK


@audit.command("patient")
@config
@_patient_file
@_kind
@_json
def patient(config: Path, *, as_json: bool, **asked: Any) -> int:
    """
    Make a patient's log extract: when, at which care unit, what was done, and who received something (PDL 4:3, 8:5).

    The number is asked for, or read from standard input or a file. Who works at the unit is not told.
    """
    with _review(config) as review:
        key = _query(review, patient=True, **asked).patient_key
        told = finished(review.of_patient(str(key)))
    if as_json:
        put_json([_told(each) for each in told])
    else:
        put_rows([dict(zip(_HEADINGS[language()], _told(each).values(), strict=True)) for each in told], as_json=False)
    return OK


@audit.command("export")
@config
@click.option("--format", "form", type=click.Choice(["jsonl", "fhir"]), default="jsonl", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="A new file, for its owner alone; standard output if left out."
)
@_since
@_until
def export(config: Path, form: Any, out: Path | None, **asked: Any) -> int:
    """
    Hand over the log, one line for each entry: as it is signed, with its checkpoints, or as FHIR AuditEvents.

    Patients are keyed hashes in both, and words that people wrote are left out. What the lines say can be verified with the
    public key alone.
    """
    with _review(config) as review, _written(out) as write:
        count = finished(review.export(write, _query(review, **asked), form))
    if out is not None:
        put_json({"file": str(out), "entries": count})
    return OK


@contextmanager
def _open(path: Path) -> Iterator[tuple[Settings, Store]]:
    settings = settings_of(path)
    with store_of(path) as store:
        yield settings, store


@contextmanager
def _review(path: Path) -> Iterator[Review]:
    from adapter.flows.reviews import Review

    with _open(path) as (settings, store):
        yield Review(store, settings, operator(), _now)


@contextmanager
def _written(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Where an export goes: standard output, or a new file (mode 0600)."""
    import os

    if path is None:
        yield put
        return
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file.write
    except OSError as error:
        raise Misconfigured(Fault("cli.unwritable", "--out", type(error).__name__)) from None


def _query(review: Review, **asked: Any) -> Any:
    from adapter.store.audit import Query

    wanted = asked.get("patient") or asked.get("patient_file")
    return Query(
        patient_key=_patient_key(review, asked["patient_file"], asked["kind"]) if wanted else None,
        event=asked.get("event"),
        who=asked.get("who"),
        outcome=asked.get("outcome"),
        since=_moment("--since", asked.get("since"), "earliest"),
        until=_moment("--until", asked.get("until"), "latest"),
    )


def _moment(option: str, text: str | None, end: str) -> datetime | None:
    from adapter.dates import Moment

    if text is None:
        return None
    try:
        found: datetime = getattr(Moment(text), end)
    except ValueError as error:
        raise Invalid(Fault("cli.bad-time", option, str(error))) from None
    return found


def _patient_key(review: Review, path: Path | None, kind: str | None) -> str:
    """The keyed hash under which the store knows a person. The number itself goes nowhere."""
    from adapter.sweden import check_person_number, person_key

    number = _number(path).replace("-", "").upper()
    for each in (kind,) if kind else _KINDS:
        try:
            check_person_number(each, number, mode=review.settings.mode)
        except ValueError:
            continue
        return review.store.keys.patient_key(person_key(each, number))
    raise Invalid(Fault("cli.not-a-person-number", "--patient"))


def _number(path: Path | None) -> str:
    if path is not None:
        content = path.read_bytes()[:100]
    elif sys.stdin.isatty():
        content = click.prompt("", prompt_suffix="? ", hide_input=True, err=True).encode()
    else:
        content = sys.stdin.buffer.readline(100)
    return content.decode("utf-8", "replace").partition("\n")[0].strip()


def _row(written: Written, *, as_json: bool) -> dict[str, Any]:
    entry = written.entry
    row = {
        "sequence": written.sequence,
        "time": written.at.astimezone(UTC).isoformat(timespec="seconds"),
        "event": entry.event,
        "who": entry.who,
        "unit": entry.unit,
        "what": entry.what,
        "outcome": entry.outcome,
        "reason": entry.reason,
    }
    return row | {"patient": entry.patient_key} if as_json else row


def _told(told: Told) -> dict[str, Any]:
    from adapter.dates import written
    from adapter.flows.reviews import measure, recipient

    return {
        "time": str(written(told.at.replace(microsecond=0))),
        "unit": told.unit,
        "measure": measure(told.event, told.outcome, language()),
        "recipient": recipient(told, language()),
    }


def _keys(files: tuple[Path, ...], settings: Settings | None) -> dict[str, Ed25519PublicKey]:
    from adapter.certs import audit_key, audit_public_key
    from adapter.store.checkpoints import key_id

    try:
        keys = [audit_public_key(path) for path in files]
    except ValueError:
        raise Misconfigured(Fault("config.bad-key", "--public-key", "a public Ed25519 key in PEM")) from None
    if not keys and settings is not None and settings.audit is not None:
        keys = [audit_key(settings.audit.key_file).public_key()]
    return {key_id(each): each for each in keys}


def _elsewhere(files: tuple[Path, ...]) -> tuple[list[Checkpoint], list[Break]]:
    from adapter.store import checkpoints

    read = [checkpoints.kept(path) for path in files]
    return [each for found, _ in read for each in found], [each for _, bad in read for each in bad]


def _verify_store(
    path: Path, keys: dict[str, Ed25519PublicKey], elsewhere: list[Checkpoint], breaks: list[Break]
) -> Found:
    """The store's log, also against the installation's own file of checkpoints. A file that is gone is a break."""
    from adapter.store import checkpoints
    from adapter.store.audit import Break

    with _open(path) as (settings, store):
        ours = settings.audit.checkpoint_file if settings.audit else None
        if ours is not None and ours.exists():
            found, bad = checkpoints.kept(ours)
            elsewhere, breaks[:] = [*elsewhere, *found], [*breaks, *bad]
        elif ours is not None and store.read(checkpoints.newest).result() is not None:
            breaks.append(Break(0, "lost", "checkpoint"))
        return store.read(checkpoints.verify, keys, elsewhere=elsewhere).result()


def _tell(found: Found, breaks: list[Break]) -> int:
    faults = [
        Fault("cli.audit-broken", f"{each.of}[{each.sequence}]", named=(("kind", each.kind),))
        for each in dict.fromkeys(breaks)
    ]
    put_json(
        {
            "rows": found.rows,
            "proved": found.proved,
            "checkpoints": found.checkpoints,
            "head": found.head.hex(),
            "breaks": len(faults),
        }
    )
    say(faults)
    return max((fault.entry.exit for fault in faults), default=OK)


def _now() -> datetime:
    return datetime.now(UTC)
