"""
Validation: FHIR's rules, compiled from the committed definitions, and the rules of coordination.

A fault says where (FHIRPath with list indexes, resources inside a Bundle by their entry: ``Bundle.entry[2].resource.status``;
a choice by its FHIRPath name: ``Task.input[0].value``), why (release and element, invariant or rule), and never the value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapter.definitions import Release
from adapter.errors import Fault
from adapter.validation.coordination import RULES, diagnosis_content
from adapter.validation.walk import Walk

__all__ = ["RULES", "diagnosis_content", "validate"]


def validate(resource: dict[str, Any], release: Release = "R4", *, rules: Iterable[str] = ()) -> list[Fault]:
    """
    Everything that is wrong with a resource, and with every resource in it; empty if nothing is.

    ``resource`` is what the strict readers give. ``rules`` names rules of coordination to apply besides FHIR's (the keys
    of ``RULES``). Hostile input is told less: of a resource with more than 5 000 values only the
    first fault of structure, and at most about 1 000 faults in all.

    Raises:
        KeyError: there is no such rule.
    """
    applied = [RULES[name] for name in rules]
    faults = Walk(release).resource(resource)
    return faults + [fault for rule in applied for fault in rule(resource)]
