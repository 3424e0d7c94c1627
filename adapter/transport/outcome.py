"""One shape for every error that leaves over HTTP: FHIR OperationOutcome."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapter.errors import Fault, Language

FAULT_SYSTEM = "https://koord.example/fhir/CodeSystem/fault"


def operation_outcome(faults: Iterable[Fault], language: Language = "en") -> dict[str, Any]:
    """
    The faults as an OperationOutcome (JSON form), one issue each.

    ``details.coding`` holds our stable code behind the one who must act: ``SEND_`` the caller, ``ADP_`` this adapter,
    ``REC_`` the peer behind it. No value and no person is named.
    """
    return {"resourceType": "OperationOutcome", "issue": [_issue(fault, language) for fault in faults]}


def _issue(fault: Fault, language: Language) -> dict[str, Any]:
    text = fault.says(language)
    reason = f"[{fault.reason}]" if fault.reason else ""
    issue: dict[str, Any] = {
        "severity": fault.severity,
        "code": fault.entry.issue,
        "details": {"coding": [{"system": FAULT_SYSTEM, "code": f"{_origin(fault)}_{fault.code}"}], "text": text},
        "diagnostics": " ".join(part for part in (_place(fault, language), reason, fault.do(language)) if part),
    }
    if fault.where:
        issue["expression"] = [fault.where]
    return issue


def _origin(fault: Fault) -> str:
    if fault.code.startswith("peer."):
        return "REC"
    return "SEND" if fault.entry.status < 500 else "ADP"


def _place(fault: Fault, language: Language) -> str:
    if fault.line is None:
        return ""
    pointer = f", {fault.pointer}" if fault.pointer else ""
    return f"{fault.position(language).capitalize()}{pointer}."
