"""
What a record costs from its stored form to the bytes of a send (map, validate, gate, serialise, read again, inspect),
beside fhir.resources parsing and dumping the Bundle that results. One process, one core, the best of five rounds each.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import region as r
from fhir.resources.R4B.bundle import Bundle

from adapter.consent.gate import Cleared, Gate
from adapter.consent.policy import Recipient, Snapshot
from adapter.domain import Purpose, read_record
from adapter.mapping import Mapper
from adapter.sweden import HsaId
from adapter.tables import load

ROUNDS = 5


def record(document):
    return read_record(document, mode="test")[0]


def plan(activities):
    return {
        "record": "CarePlan",
        "id": {"system": r.IDS, "value": f"plan-{activities}"},
        "kind": "rehabiliteringsplan",
        "title": "Plan för återgång i arbete",
        "state": "active",
        **r.parties(),
        "author": r.STAFF,
        "created_on": "2026-11-02",
        "goals": [{"text": f"Mål nummer {n}", "target_date": "2027-01"} for n in range(activities // 4)],
        "activities": [
            {
                "text": f"Avstämningsmöte nummer {n} med arbetsplatsen",
                "state": "scheduled",
                "actor": r.EMPLOYER,
                "planned": {"start": "2026-12-01"},
            }
            for n in range(activities)
        ],
    }


def best(work, times):
    def round_():
        start = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - start) / times

    return min(round_() for _ in range(ROUNDS))


def main():
    warnings.simplefilter("ignore")
    consent = record(r.consent("c-a", "interventions"))
    gate = Gate(senders=[HsaId(r.PROVIDER)], id_key=bytes(32), mapper=Mapper(load()))
    receiver = Recipient(
        "region-b", "vard", hsa_id=HsaId("TSTNMT2321000131-B000"), provider_hsa_id=HsaId("TSTNMT2321000131-B000")
    )
    for name, document in (("intervention", r.intervention()), ("plan of 40", plan(40)), ("plan of 800", plan(800))):
        known = record(document)
        snapshot = Snapshot(patient=known.patient.identity, consent_version=1, consents=(consent,))

        def clear(known=known, snapshot=snapshot):
            result = gate.clear(
                known,
                destination=receiver,
                purpose=Purpose.COORDINATION,
                snapshot=snapshot,
                now=r.NOW,
                request_id="q",
                correlation_id="c",
            )
            assert isinstance(result, Cleared)
            return result.body

        body = clear()
        times = max(1, 200_000 // len(body))
        ours = best(clear, times)
        theirs = best(lambda body=body: Bundle.model_validate_json(body).model_dump_json(), max(1, times // 5))
        print(
            json.dumps(
                {
                    "benchmark": "chain",
                    "what": name,
                    "bytes": len(body),
                    "koord_us": round(ours * 1e6),
                    "fhir_resources_us": round(theirs * 1e6),
                    "ratio": round(theirs / ours, 2),
                }
            )
        )


if __name__ == "__main__":
    main()
