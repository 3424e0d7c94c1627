"""``koord schema``, ``tables``: what records look like, and how they are mapped, as the program itself knows it."""

from __future__ import annotations

from pathlib import Path

import click

from adapter.cli.terminal import OK, Command, put, put_json, say
from adapter.errors import Fault, Invalid, Misconfigured

_PAGES = Path("docs/mapping")


@click.command(cls=Command)
@click.argument("kind", required=False)
def schema(kind: str | None) -> int:
    """Print the JSON Schema (2020-12) of all records, or of one KIND: Consent, CarePlan, Intervention, ..."""
    from adapter import domain

    if kind is not None and kind not in domain.RECORDS:
        raise Invalid(Fault("cli.unknown-kind", "KIND", named=(("kinds", ", ".join(domain.RECORDS)),)))
    put_json(domain.schema() if kind is None else _schema_of(domain.RECORDS[kind]))
    return OK


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Write one page for each table there.")
@click.option("--check", is_flag=True, help="Write nothing; end with 1 if a page in the folder is not as the tables.")
def tables(out: Path | None, *, check: bool) -> int:
    """Print the mapping pages: record field, FHIR path, codes, category, source and reason of every row."""
    from adapter.tables import load, pages

    found = pages(load(), load("R5"))
    if check:
        return _compare(found, out or _PAGES)
    if out is None:
        put("\n".join(found.values()))
        return OK
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, page in found.items():
            (out / name).write_text(page, "utf-8")
    except OSError as error:
        raise Misconfigured(Fault("cli.unwritable", str(out), type(error).__name__)) from None
    return OK


def _schema_of(kind: type) -> dict[str, object]:
    from pydantic import TypeAdapter

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TypeAdapter(kind).json_schema()}


def _compare(pages: dict[str, str], folder: Path) -> int:
    on_disk = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    stale = [name for name in sorted(pages.keys() | on_disk.keys()) if pages.get(name) != on_disk.get(name)]
    faults = [Fault("cli.stale-page", str(folder / name), named=(("folder", str(folder)),)) for name in stale]
    say(faults)
    return max((fault.entry.exit for fault in faults), default=OK)
