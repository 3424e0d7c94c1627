"""A region for tests: settings, keys and an adapter on a temporary SQLite file, with receivers in memory and a set clock."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from adapter.flows import Adapter
from adapter.settings import Settings
from adapter.store import make_key_file
from adapter.transport.memory import Memory

PROVIDER = "TSTNMT2321000016-A000"
UNIT = "TSTNMT2321000016-A001"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
IDS = "urn:oid:1.2.752.129.2.1.2.1"
EMPLOYER = {"category": "arbetsgivare", "organisation_number": "2321000131", "name": "Verkstaden AB"}

DESTINATIONS = [
    {"id": "region-b", "recipient": "vard", "hsa_id": "TSTNMT2321000131-B000"},
    {"id": "fk", "recipient": "forsakringskassan", "organisation_number": "2021005521"},
    {"id": "employer", "recipient": "arbetsgivare", "organisation_number": "2321000131"},
    {"id": "af", "recipient": "arbetsformedlingen", "organisation_number": "2021002114"},
    {"id": "municipality", "recipient": "kommun", "organisation_number": "2120000142"},
]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now

    def forward(self, **by):
        self.now += timedelta(**by)


def settings(folder, **more):
    """Settings of region A in ``folder``, with its key files."""
    if not (folder / "store.keys").exists():
        make_key_file(folder / "store.keys")
        (folder / "id.key").write_bytes(secrets.token_bytes(32))
        (folder / "id.key").chmod(0o600)
    destinations = [
        {"url": f"http://127.0.0.1:1/{d['id']}", "network": "loopback", "production": False, **d} for d in DESTINATIONS
    ]
    document = {
        "mode": "test",
        "region": {
            "name": "Region A",
            "provider": PROVIDER,
            "unit": UNIT,
            "organisation_number": "2321000016",
            "source_system": "TSTNMT2321000016-S001",
        },
        "store": {
            "path": str(folder / "koord.sqlite"),
            "key_file": str(folder / "store.keys"),
            "id_key_file": str(folder / "id.key"),
        },
        "server": {"base_url": "http://127.0.0.1:8443", "authentication": "none"},
        "destinations": destinations,
    }
    return Settings.model_validate(document | more, context={"folder": folder})


@asynccontextmanager
async def region(folder, *, clock=None, transport=None, **more):
    """An open adapter; ``adapter.transport`` is a ``Memory`` unless another is given."""
    configured = settings(folder, **more)
    transport = transport or Memory([d.id for d in configured.destinations])
    adapter = Adapter.open(configured, transport=transport, clock=clock or Clock())
    try:
        yield adapter
    finally:
        await adapter.close()


def patient(number="191212121212", **more):
    return {
        "identity": {"kind": "personnummer", "number": number},
        "given_names": ["Tolvan"],
        "family_name": "Tolvansson",
        **more,
    }


def parties(number="191212121212"):
    return {
        "patient": patient(number),
        "unit": {"hsa_id": UNIT, "name": "Psykiatrimottagningen"},
        "provider": {"hsa_id": PROVIDER, "name": "Region A"},
    }


STAFF = {
    "hsa_id": "TSTNMT2321000016-105P",
    "given_names": ["Karin"],
    "family_name": "Koordinator",
    "phone": "010-123 45 67",
}


def consent(value, kind, *, version=1, number="191212121212", **more):
    return {
        "record": "Consent",
        "id": {"system": IDS, "value": value},
        "version": version,
        "kind": kind,
        "state": "given",
        **parties(number),
        "given_on": "2026-11-01",
        "form": "oral",
        "informed_on": "2026-11-01",
        "informed_by": STAFF,
        "recorded_by": STAFF,
        **more,
    }


def withdrawn(document, on="2026-11-21T12:00:00Z"):
    return document | {
        "version": document["version"] + 1,
        "state": "withdrawn",
        "withdrawn": {"on": on, "by": "patient"},
    }


def intervention(value="i1", *, version=1, number="191212121212", **more):
    return {
        "record": "Intervention",
        "id": {"system": IDS, "value": value},
        "version": version,
        "kind": "samverkan",
        "state": "requested",
        **parties(number),
        "performer": STAFF,
        "authored_on": "2026-11-20T09:00:00+01:00",
        "met": [{"actor": EMPLOYER, "contact": "Kim Karlsson"}],
        "note": "HEMLIG-ANTECKNING",
        **more,
    }


def fk_signal(value="f1", *, number="191212121212", **more):
    return {
        "record": "FkSignal",
        "id": {"system": IDS, "value": value},
        **parties(number),
        "sender": STAFF,
        "need_may_be_assumed": True,
        "noted_on": "2026-11-20",
        **more,
    }


def submission(*records, **sends):
    """Records, and what to send: ``submission(plan, consent, plan1=["fk"])`` by record number."""
    return {
        "records": list(records),
        "send": [{"record": {"system": IDS, "value": value}, "to": to} for value, to in sends.items()],
    }
