"""
The examples of the profiles: what the product makes of ``profiles/examples/records.json``, one resource for each profile, and for
each of our invariants a resource that breaks it and nothing else.

``python tests/profile_examples.py`` writes them anew, to ``profiles/examples/{r4,r5,invalid}``.
"""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from region import UNIT as LOG_UNIT
from region import settings
from store_world import START, World

from adapter.consent import journal_entry, notice
from adapter.consent.disclosure import load as disclosures
from adapter.consent.journal_entry import Handout
from adapter.domain import Category, read_record
from adapter.errors import Fault
from adapter.flows import Received, Written
from adapter.flows.audit_events import audit_event
from adapter.mapping import Mapper, Package, Permission, collection, searchset, transaction
from adapter.mapping.package import actor_keys
from adapter.service.packages import entries_of, transaction_response
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.sweden import HsaId, OrganisationNumber
from adapter.tables import CANONICAL, load
from adapter.transport.outcome import operation_outcome

FOLDER = Path(__file__).parents[1] / "profiles" / "examples"
PROFILES = f"{CANONICAL}/StructureDefinition/"
EMPLOYER = OrganisationNumber("2321000131")
NOTICE = "01a1fdfa-4600-79c7-92fa-5ddc2a339259"
AT = datetime(2025, 3, 12, 14, 30, tzinfo=UTC)


def records():
    """The records by the value of their number."""
    documents = json.loads((FOLDER / "records.json").read_text("utf-8"))
    made = [read_record(document, mode="test")[0] for document in documents]
    return {record.id.value: record for record in made}


def examples(release="R4"):
    """Profile id → resource."""
    known, mapper = records(), Mapper(load(release))
    packages = {name: mapper.to_fhir(record) for name, record in known.items()}
    plan, shared = packages["plan"], packages["shared-records"]
    named = {
        "koord-offer": packages["offer"].resources[0],
        "koord-intervention": packages["intervention"].resources[0],
        "koord-fk-signal": packages["signal"].resources[0],
        **{f"koord-consent-{name}": packages[name].resources[0] for name in CONSENTS},
        "koord-block": packages["block"].resources[0],
        "koord-care-plan": plan.resources[0],
        "koord-goal": of_type(plan, "Goal"),
        "koord-provenance": of_type(shared, "Provenance"),
        "koord-related-person": of_type(shared, "RelatedPerson"),
        **{profile: of_type(plan, kind) for profile, kind in PARTIES.items()},
        **told(known),
        "koord-bundle-collection": collection(packages["offer"]),
        **exchanged(mapper, known["intervention"], release),
        **message(packages["signal"], release),
        "koord-operation-outcome": operation_outcome([Fault("fhir.gc001", "Task.code")]),
    }
    if release == "R4":
        named["koord-audit-event"] = refusal()  # The log is exported in R4.
    return {name: stamped(resource, name) for name, resource in named.items()}


PARTIES = {
    "koord-patient": "Patient",
    "koord-practitioner-role": "PractitionerRole",
    "koord-practitioner": "Practitioner",
    "koord-organization": "Organization",
}
CONSENTS = ("interventions", "inform-fk", "collaborate", "shared-records")


def told(known):
    """The notice that a consent has ended, the word back, and the entry in the own journal."""
    ended = notice.Notice(NOTICE, known["shared-records"].id, (("CarePlan", known["plan"].id),), AT)
    handout = Handout(
        message_id=NOTICE,
        patient=known["plan"].patient.identity,
        to=EMPLOYER,
        provider=HsaId("TSTNMT2321000016-A000"),
        unit=HsaId("TSTNMT2321000016-A001"),
        records=(("Task", known["intervention"].id, 1),),
        consents=((known["collaborate"].id, 1),),
        categories=(Category.SCHEDULE,),
    )
    return {
        "koord-withdrawal-notice": only(notice.bundle(ended)),
        "koord-withdrawal-receipt": only(notice.receipt(NOTICE)),
        "koord-journal-entry": only(journal_entry.bundle(handout, "completed", AT, NOTICE)),
    }


def exchanged(mapper, intervention, release):
    """A package for the employer, the answer to it, and the answer to a search."""
    allowed = Permission(disclosures().of["arbetsgivare"].categories, actor_keys(EMPLOYER, None))
    sent = transaction(mapper.to_fhir(intervention, permission=allowed))
    received = Received((Written("Task", sent["entry"][0]["resource"]["id"], 1, created=True),), (), replayed=False)
    return {
        "koord-bundle-transaction": sent,
        "koord-bundle-transaction-response": transaction_response(entries_of(sent), received),
        "koord-bundle-searchset": searchset([mapper.to_fhir(intervention)], "Task", release),
    }


def message(package, release):
    """The signal as a message to Försäkringskassan, in the form that peers agree on; the adapter itself sends transactions."""
    signal = package.resources[0]
    sent_by = of_type(package, "Provenance")["agent"][-1]["who"]
    header = {
        "resourceType": "MessageHeader",
        "id": NOTICE,
        "meta": {"profile": [f"{PROFILES}koord-message-header"]},
        "eventCoding": {"system": f"{CANONICAL}/CodeSystem/task-kind", "code": "fk-signal"},
        "source": {"endpointUrl" if release == "R5" else "endpoint": "https://journal.region-a.example/fhir"},
        "sender": sent_by,
        "focus": [{"reference": f"Task/{signal['id']}"}],
    }
    packed = collection(Package((header, *package.resources)))
    return {
        "koord-message-header": header,
        "koord-bundle-message": {**packed, "type": "message", "timestamp": "2025-03-10T09:00:00+01:00"},
    }


def refusal():
    """The AuditEvent of a read that the gate did not permit."""
    world = World()
    entry = Entry("record.read", "region-b", "0191", "refused", "CONSENT_BLOCKED", "ab" * 32, b"", LOG_UNIT)
    world.do(audit.append, [entry], now=START)
    (written,) = world.do(audit.entries)
    with TemporaryDirectory() as folder:
        event = world.do(audit_event, written, settings(Path(folder)))
    world.close()
    return event


def only(bundle):
    return bundle["entry"][0]["resource"]


def of_type(package, name):
    return next(resource for resource in package.resources if resource["resourceType"] == name)


def stamped(resource, name):
    """The resource as the profile's. What it claims of other people's profiles is left out: they are not in our package."""
    rest = {key: value for key, value in resource.items() if key not in {"resourceType", "meta"}}
    meta = {**resource.get("meta", {}), "profile": [PROFILES + name]}
    return {"resourceType": resource["resourceType"], "meta": meta, **deepcopy(rest)}


# What must fail


def broken():
    """Invariant → a resource that breaks it and no other of ours."""
    made = examples()
    return {key: BREAKS[key](deepcopy(made[source])) for key, source in SOURCES.items()}


SOURCES = {
    "koord-subject-given": "koord-offer",
    "koord-no-diagnosis": "koord-intervention",
    "koord-gc001": "koord-intervention",
    "koord-offer-answer": "koord-offer",
    "koord-informed-first": "koord-consent-interventions",
    "koord-withdrawn-inactive": "koord-consent-shared-records",
    "koord-withdrawn-by": "koord-consent-shared-records",
    "koord-block-act": "koord-block",
    "koord-sick-leave-degree": "koord-care-plan",
    "koord-plan-diagnosis": "koord-care-plan",
    "koord-no-condition": "koord-bundle-collection",
    "koord-entry-request": "koord-bundle-transaction",
    "koord-audit-refusal": "koord-audit-event",
    "koord-audit-number": "koord-audit-event",
}
"""Invariant → the profile whose example holds to it, and is changed until it does not."""


def changed(**values):
    return lambda resource: {**resource, **values}


def without(name):
    return lambda resource: {key: value for key, value in resource.items() if key != name}


def set_at(resource, path, value):
    """The resource with a value in the place that names and numbers lead to."""
    node = resource
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return resource


ICD = {"system": "https://www.icd10.se/", "code": "M54.5"}
BREAKS = {
    "koord-subject-given": changed(**{"for": {"type": "Patient"}}),
    "koord-no-diagnosis": changed(input=[{"type": {"text": "orsak"}, "valueCodeableConcept": {"coding": [ICD]}}]),
    "koord-gc001": lambda task: set_at(task, ["code", "coding"], task["code"]["coding"][:1]),
    "koord-offer-answer": lambda task: changed(extension=task["extension"][:1])(task),
    "koord-informed-first": changed(dateTime="2025-02-02"),
    "koord-withdrawn-inactive": changed(status="active"),
    "koord-withdrawn-by": without("performer"),
    "koord-block-act": lambda block: set_at(block, ["category", 0, "coding", 0, "code"], "416308001"),
    "koord-sick-leave-degree": lambda plan: set_at(
        plan, ["extension", index_of(plan, "sick-leave"), "extension", 0, "valueInteger"], 80
    ),
    "koord-plan-diagnosis": lambda plan: set_at(plan, ["activity", 0, "detail", "code"], {"coding": [ICD]}),
    "koord-no-condition": lambda bundle: changed(entry=[*bundle["entry"], CONDITION])(bundle),
    "koord-entry-request": lambda bundle: set_at(bundle, ["entry", 0, "request", "url"], "Task/another"),
    "koord-audit-refusal": lambda event: set_at(event, ["entity", 1, "what"], {"identifier": RECORD}),
    "koord-audit-number": lambda event: set_at(event, ["entity", 0, "what", "identifier"], PERSON),
}
CONDITION = {
    "fullUrl": f"{CANONICAL}/Condition/c",
    "resource": {
        "resourceType": "Condition",
        "id": "c",
        "subject": {
            "identifier": {"system": "http://electronichealth.se/identifier/personnummer", "value": "191212121212"}
        },
    },
}
RECORD = {"system": f"{CANONICAL}/id/record", "value": "1/1"}
PERSON = {"system": "http://electronichealth.se/identifier/personnummer", "value": "191212121212"}


def index_of(resource, name):
    return next(n for n, each in enumerate(resource["extension"]) if each["url"] == PROFILES + name)


def files():
    """Every file of the examples, by its place under ``profiles/examples``, and its text."""
    found = {
        f"{release.lower()}/{name}.json": each for release in ("R4", "R5") for name, each in examples(release).items()
    }
    found |= {f"invalid/{key}.json": resource for key, resource in broken().items()}
    return {name: json.dumps(each, ensure_ascii=False, indent=2) + "\n" for name, each in found.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text, "utf-8")
