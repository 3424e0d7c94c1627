"""
Validation: FHIR's rules, compiled from the committed definitions, profiles, and the rules of coordination.

A fault says where (FHIRPath with list indexes, resources inside a Bundle by their entry: ``Bundle.entry[2].resource.status``;
a choice by its FHIRPath name: ``Task.input[0].value``), why (release and element, invariant or rule), by which profile, and
never the value. Faults of severity ``warning`` refuse nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from adapter.definitions import Release
from adapter.errors import Fault, Invalid
from adapter.profiles import profiles as known_profiles
from adapter.validation.coordination import RULES, diagnosis_content
from adapter.validation.walk import Walk

__all__ = ["RULES", "diagnosis_content", "errors", "validate"]


def validate(
    resource: dict[str, Any],
    release: Release = "R4",
    *,
    rules: Iterable[str] = (),
    profiles: Sequence[str] = (),
    packages: tuple[Path, ...] = (),
) -> list[Fault]:
    """
    Everything that is wrong with a resource, and with every resource in it; empty if nothing is.

    ``resource`` is what the strict readers give. Each resource is held to the profiles of its ``meta.profile`` that are known.
    ``profiles``: canonicals that the outer resource is held to besides. ``packages``: folders of FHIR packages (with
    snapshots) whose profiles, extensions and value sets are known besides ours. ``rules`` names rules of coordination to apply
    (the keys of ``RULES``). Hostile input is told less, and that it is (``fhir.more``): at most about 1 000 faults in all.

    Raises:
        KeyError: there is no such rule.
        Invalid: ``profiles`` names one that is not known (``profile.unknown``).
        Misconfigured: a package cannot be read, or a profile slices in a way that cannot be decided (``profile.*``).
    """
    applied = [RULES[name] for name in rules]
    known = known_profiles(release, packages)
    unknown = [url for url in profiles if known.named(url) is None]
    if unknown:
        raise Invalid([Fault("profile.unknown", url, f"{release} profiles") for url in unknown])
    faults = Walk(known).resource(resource, profiles)
    return list(dict.fromkeys(faults + [fault for rule in applied for fault in rule(resource, release)]))


def errors(faults: Iterable[Fault]) -> list[Fault]:
    """Those that refuse."""
    return [fault for fault in faults if fault.severity == "error"]
