"""Consents of other systems as the local system hands them over, in R4 and R5, about the people and parties of ``region``."""

from __future__ import annotations

import region as r

SYSTEM = "urn:oid:2.16.840.1.113883.19.5"
PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
HSA_ID, ORGNR = "urn:oid:1.2.752.29.4.19", "urn:oid:2.5.4.97"
KIND = "https://koord.example/fhir/CodeSystem/consent-kind"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
EMPLOYER = {"identifier": {"system": ORGNR, "value": "2321000131"}}
REGION_B = {"identifier": {"system": HSA_ID, "value": "TSTNMT2321000131-B000"}}
PATIENT = {"identifier": {"system": PERSONNUMMER, "value": "191212121212"}}
TEXT = "HEMLIG-SAMTYCKESTEXT"
"""Stands in every Consent that is made here, and nowhere else."""


def actor(reference=EMPLOYER):
    return {"role": {"text": "recipient"}, "reference": reference}


def consent(value="x-1", kind="collaborate", *, to=EMPLOYER, version=1, release="R4", **more):
    """One that opens what its kind opens for one recipient."""
    shared = {
        "resourceType": "Consent",
        "id": "a-1",
        "meta": {"versionId": str(version)},
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{TEXT}</div>'},
        "identifier": [{"system": SYSTEM, "value": value}],
        "status": "active",
        "category": [{"coding": [{"system": KIND, "code": kind}]}],
    }
    custodian = {"identifier": {"system": HSA_ID, "value": r.PROVIDER}}
    if release == "R4":
        own = {
            "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
            "patient": PATIENT,
            "dateTime": "2026-11-02",
            "organization": [custodian],
            "provision": {"type": "permit", "actor": [actor(to)]},
        }
    else:
        own = {
            "subject": PATIENT,
            "date": "2026-11-02",
            "controller": [custodian],
            "decision": "permit",
            "grantee": [to],
        }
    return shared | own | more


def denial(value="x-no", *, release="R4", **more):
    """One that denies everything to everyone, of no kind of ours."""
    other = [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}]
    said = {"provision": {"type": "deny"}} if release == "R4" else {"decision": "deny", "grantee": []}
    made = consent(value, release=release, category=other, **said)
    return {name: each for name, each in (made | more).items() if each != []}


def later(document, **more):
    """The next version of a Consent."""
    version = int(document["meta"]["versionId"]) + 1
    return document | {"meta": {"versionId": str(version)}} | more


def hand(*consents, records=(), **sends):
    """A submission of Consents, records, and what to send."""
    return r.submission(*records, **sends) | {"consents": list(consents)}
