"""A region to whom everything has happened that the audit log tells of, and the key that its log is signed with."""

from __future__ import annotations

from contextlib import asynccontextmanager
from uuid import uuid4

import region as r

from adapter.certs import audit_key, new_audit_key, write_private
from adapter.domain import BusinessId, PersonIdentity
from adapter.errors import Denied
from adapter.flows import Dispatcher, Reader, accept, read_one, search
from adapter.flows.reviews import Review
from adapter.store import audit, destinations, quarantine
from adapter.store.checkpoints import key_id
from adapter.sweden import HsaId, person_key
from adapter.transport.login import Caller

PATIENT, OTHER = "191212121212", "195009072553"
REGION_B = Caller("region-b", frozenset({"care-provider"}), HsaId("TSTNMT2321000131-B000"))
OPERATOR = "operator:kim"
WORDS = "HEMLIGA-ORD"


def signed(folder, **more):
    """The part of the settings by which a log is signed."""
    if not (folder / "audit.key").exists():
        write_private(folder / "audit.key", new_audit_key())
    return {
        "audit": {
            "key_file": str(folder / "audit.key"),
            "checkpoint_file": str(folder / "checkpoints.jsonl"),
            **more,
        }
    }


def keys(folder):
    public = audit_key(folder / "audit.key").public_key()
    return {key_id(public): public}


def patient_key(adapter, number=PATIENT):
    return adapter.keys.patient_key(person_key("personnummer", number))


def review(adapter, who=OPERATOR):
    return Review(adapter.store, adapter.settings, who, adapter.clock)


@asynccontextmanager
async def eventful(folder, **more):
    """An open region after sends, reads, refusals and operators' actions about two patients."""
    async with r.region(folder, **signed(folder, **more)) as adapter:
        await _sends(adapter)
        await _reads(adapter)
        await _operators(adapter)
        yield adapter


async def _sends(adapter):
    collaborate = r.consent("c-c", "collaborate", recipient=r.EMPLOYER)
    about_one = r.submission(
        r.consent("c-a", "interventions"), collaborate, r.intervention(), i1=["employer", "region-b", "af"]
    )
    about_another = r.submission(r.intervention("i2", number=OTHER), i2=["municipality"])
    for document in (about_one, about_another):
        adapter.clock.forward(minutes=1)
        await accept(adapter, document, caller="journal")
    await Dispatcher(adapter, owner="test").drain()


async def _reads(adapter):
    for value, number in (("i1", PATIENT), ("i2", OTHER)):
        adapter.clock.forward(minutes=1)
        logical = adapter.record_id("@local", BusinessId(system=r.IDS, value=value))
        try:
            await read_one(adapter, "Task", logical, Reader(REGION_B, str(uuid4())))
        except Denied:
            assert number == OTHER
        identity = PersonIdentity(kind="personnummer", number=number)
        await search(adapter, "Task", identity, Reader(REGION_B, str(uuid4())))


async def _operators(adapter):
    adapter.clock.forward(minutes=1)
    (found,) = await adapter.store.read(
        quarantine.messages, now=adapter.clock(), state="delivered", destination="employer"
    )
    await adapter.store.write(quarantine.resend, found.message_id, who=OPERATOR, why=WORDS, now=adapter.clock())
    await adapter.store.write(destinations.pause, "fk", who=OPERATOR, why=WORDS, now=adapter.clock())


async def entries(adapter):
    return await adapter.store.read(audit.entries, limit=10_000)
