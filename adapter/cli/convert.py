"""``koord map``, ``filter``: files in, what the adapter makes of them out. Nothing is stored and nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click

from adapter.cli import reading
from adapter.cli.reading import Content
from adapter.cli.terminal import OK, Command, language, put, put_json, put_rows, say, test_identities
from adapter.errors import AdapterError, Fault, Invalid

if TYPE_CHECKING:
    from adapter.consent.policy import Recipient
    from adapter.definitions import Release
    from adapter.domain import Block, Consent, Purpose, Record
    from adapter.mapping import Mapper
    from adapter.sweden import Mode

Form = Literal["json", "xml"]

_format = click.option(
    "--format", "form", type=click.Choice(["json", "xml"]), default="json", help="Of the FHIR that is written."
)
_RELEASES = click.Choice(["R4", "R5"])


@click.command("map", cls=Command)
@click.argument("file")
@_format
@click.option("--release", type=_RELEASES, help="Of the FHIR that is written; FHIR becomes FHIR if it is given.")
@click.option("--from", "source", type=_RELEASES, help="Of the FHIR in FILE; the other one than --release, else R4.")
@test_identities
@click.option("--trace", is_flag=True, help="Show instead which row of the tables carries which field where.")
@click.option("--json", "as_json", is_flag=True, help="The trace as JSON.")
def map_(  # noqa: PLR0913  one for each option
    file: str,
    form: Form,
    release: Release | None,
    source: Release | None,
    mode: Mode,
    *,
    trace: bool,
    as_json: bool,
) -> int:
    """
    Turn records into FHIR, FHIR into records, or FHIR of one release into that of another.

    FILE, or - for standard input, is JSON or XML: a record, a list of records, a submission, or a FHIR resource or
    Bundle. Records become a collection Bundle. One record comes back as an object, several as a list; what the records
    cannot hold, and what the release cannot hold of them, is named on standard error.
    """
    from adapter.domain import written_record

    content = reading.read(file, release=source or ("R4" if release in {None, "R5"} else "R5"))
    both = _mapper()
    records = _records(content, both.of(content.release), mode)
    mapper = both.of(release or "R4")
    if trace:
        put_rows(_trace(mapper, records), as_json=as_json)
    elif content.is_fhir and release is None:
        documents = [written_record(record) for record in records]
        put_json(documents if len(documents) > 1 else documents[0])
    else:
        say([fault for record in records for fault in mapper.narrowed(record)])
        _put_fhir(_collection(mapper, records), form, mapper.tables.release)
    return OK


@click.command("filter", cls=Command)
@click.argument("file")
@click.option(
    "--to",
    required=True,
    metavar="TYPE:ORGANISATION",
    help="For example arbetsgivare:2321000016, or patient.",
)
@click.option(
    "--consents", required=True, metavar="FILE", help="The patient's Consent and Block records, or FHIR Consents."
)
@click.option("--at", metavar="TIME", help="A day, or a time with offset; now if left out.")
@click.option("--purpose", help="The usual one of the recipient's type if left out.")
@_format
@click.option("--release", type=_RELEASES, default="R4", help="Of the FHIR that is written; R4 if left out.")
@test_identities
@click.option("--explain", is_flag=True, help="Show instead why: the rules, what is left out, what would change it.")
@click.option("--json", "as_json", is_flag=True, help="The explanation as JSON.")
def filter_(  # noqa: PLR0913, PLR0917  one for each option
    file: str,
    to: str,
    consents: str,
    at: str | None,
    purpose: str | None,
    form: Form,
    release: Release,
    mode: Mode,
    *,
    explain: bool,
    as_json: bool,
) -> int:
    """
    Show exactly what a recipient would get of the records in FILE, by the consents in another.

    The bytes are the gate's, with ids made up for the occasion; several records give one body on each line. Ends with 5
    if nothing may be sent. The reason and the law are on standard error.
    """
    from adapter.consent.explanation import explain_text
    from adapter.consent.seal import Cleared
    from adapter.flows.preview import preview

    when, mapper = reading.moment(at), _mapper()
    records = _records(reading.read(file), mapper, mode)
    permits, foreign = _permits(reading.read(consents, may_be_empty=True), mapper, mode)
    refused: list[Fault] = []
    for record in records:
        result = preview(
            record,
            recipient=replace(_recipient(to, record, form), release=release),
            consents=permits,
            foreign=foreign,
            at=when,
            mapper=mapper,
            purpose=_purpose(purpose),
        )
        if not isinstance(result, Cleared):
            say(result.faults)
            refused.append(result.faults[0])
        if explain:
            put(result.explanation + b"\n" if as_json else explain_text(result.explanation, language()))
        elif isinstance(result, Cleared):
            put(result.body + b"\n" if len(records) > 1 else result.body)
    return refused[0].entry.exit if len(refused) == len(records) else OK


def _mapper() -> Mapper:
    from adapter.mapping import Mapper
    from adapter.tables import load

    return Mapper(load(), load)


def _records(content: Content, mapper: Mapper, mode: Mode) -> Sequence[Record]:
    """The records of an input, whichever form they came in; what is noted on the way goes to stderr."""
    if not content.is_fhir:
        records, notes = reading.records(content, mode=mode)
        say(notes)
        return records
    from adapter.validation import errors, validate

    faults = errors(validate(content.value, content.release))
    if faults:
        raise Invalid(content.placed(faults))
    try:
        found = mapper.from_fhir(content.value, mode=mode)
    except AdapterError as error:
        raise type(error)(content.placed(error.faults)) from None
    say(content.placed([*found.losses, *found.warnings]))
    return found.records


def _trace(mapper: Mapper, records: Sequence[Record]) -> list[dict[str, str]]:
    from adapter.mapping import Traced

    found: list[Traced] = []
    mapper.to_fhir_together(records, trace=found)
    return [{"row": each.row, "field": each.field, "path": each.path, "category": each.category} for each in found]


def _collection(mapper: Mapper, records: Sequence[Record]) -> dict[str, Any]:
    from adapter.mapping import collection

    names = [(mapper.tables.records[record.record].focus, record.id) for record in records]
    if len(set(names)) != len(names):
        raise Invalid(Fault("cli.same-record", "records"))
    return collection(mapper.to_fhir_together(records))


def _put_fhir(resource: dict[str, Any], form: Form, release: Release) -> None:
    if form == "json":
        put_json(resource)
        return
    from adapter.wire import xml

    put(xml.write(resource, release=release) + b"\n")


def _permits(content: Content, mapper: Mapper, mode: Mode) -> tuple[list[Consent | Block], list[dict[str, Any]]]:
    """The Consent and Block records of an input, and what other systems have told in FHIR."""
    from adapter.domain import Block, Consent

    own, foreign = _told_apart(content)
    records = _records(own, mapper, mode) if own and (own.is_fhir or own.records) else ()
    permits = [record for record in records if isinstance(record, Consent | Block)]
    if len(permits) != len(records):
        raise Invalid(Fault("cli.not-consents", "--consents"))
    return permits, foreign


def _told_apart(content: Content) -> tuple[Content | None, list[dict[str, Any]]]:
    """What is ours, None if nothing is, and the Consents of other systems with what they may refer to."""
    is_bundle = content.is_fhir and content.value["resourceType"] == "Bundle"
    entries = content.value.get("entry") if is_bundle else [{"resource": content.value}]
    foreign = [each for each in entries if _is_foreign(each)] if content.is_fhir and isinstance(entries, list) else []
    if not foreign:
        return content, []
    ours = [each for each in entries if each not in foreign]
    parties = [each for each in ours if not _is_consent(each)]
    document = {"resourceType": "Bundle", "entry": [*foreign, *parties]}
    return (replace(content, value={**content.value, "entry": ours}) if ours != parties else None), [document]


def _is_consent(entry: Any) -> bool:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return isinstance(resource, dict) and resource.get("resourceType") == "Consent"


def _is_foreign(entry: Any) -> bool:
    from adapter.consent.handed_over import is_ours

    return _is_consent(entry) and not is_ours(entry["resource"])


def _recipient(text: str, record: Record, form: Form) -> Recipient:
    """``TYPE:ORGANISATION`` of the command line; the patient is the one that the record is about."""
    from adapter.consent.disclosure import PATIENT, TYPES
    from adapter.consent.policy import Recipient
    from adapter.sweden import HsaId, OrganisationNumber

    kind, _, number = text.partition(":")
    wrong = Invalid(Fault("cli.bad-recipient", "--to", named=(("types", ", ".join(TYPES)),)))
    if kind not in TYPES or bool(number) == (kind == PATIENT):
        raise wrong
    if kind == PATIENT:
        return Recipient(kind, kind, patient=record.patient.identity, format=form)
    try:
        if number.replace("-", "").isdigit():
            return Recipient(text, kind, organisation_number=OrganisationNumber(number.replace("-", "")), format=form)
        hsa_id = HsaId(number)
    except ValueError:
        raise wrong from None
    return Recipient(text, kind, hsa_id=hsa_id, provider_hsa_id=hsa_id if kind == "vard" else None, format=form)


def _purpose(text: str | None) -> Purpose | None:
    from adapter.domain import Purpose

    try:
        return Purpose(text) if text else None
    except ValueError:
        raise click.BadParameter(f"one of {', '.join(Purpose)}", param_hint="--purpose") from None
