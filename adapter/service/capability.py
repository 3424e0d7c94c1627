"""What this server does, as FHIR's clients read it (R4 CapabilityStatement). Nothing stands here that is not so."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from adapter.definitions import Release, definitions
from adapter.mapping import Resource
from adapter.service.packages import TYPES
from adapter.settings import Authentication, Settings
from adapter.tables import CANONICAL, EXTENSION
from adapter.wire.media import WRITTEN

PUBLISHED: Final = f"{CANONICAL}/CapabilityStatement/koord-server"
"""What holds for every server of ours, whatever its settings (profiles/generated)."""
WRITTEN_ON: Final = "2026-11-22"
"""When the statement last changed in meaning."""

_DEFINITIONS: Final = {
    "CarePlan": "http://hl7.org/fhir/SearchParameter/clinical-patient",
    "Consent": "http://hl7.org/fhir/SearchParameter/clinical-patient",
    "Task": "http://hl7.org/fhir/SearchParameter/Task-patient",
}
_PROFILES: Final = {
    "CarePlan": ("koord-care-plan",),
    "Consent": (
        "koord-consent-interventions",
        "koord-consent-inform-fk",
        "koord-consent-collaborate",
        "koord-consent-shared-records",
    ),
    "Task": (
        "koord-intervention",
        "koord-offer",
        "koord-fk-signal",
        "koord-withdrawal-notice",
        "koord-withdrawal-receipt",
    ),
}
_LOGINS: Final[dict[Authentication, str]] = {
    "mtls": "Mutual TLS: the peer's HSA-id stands in the serialNumber of its certificate's subject.",
    "token": "A bearer token, signed by the peer for each call (RFC 7523; ES384 or RS384), made out to this server.",
    "either": "Mutual TLS, or a bearer token that the peer signs for each call (RFC 7523; ES384 or RS384), or both.",
    "none": "None: a test server on its own machine.",
}


def capability_statement(settings: Settings, release: Release = "R4") -> Resource:
    """The statement for a server with these settings, in a release: the same is done in all of them."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": WRITTEN_ON,
        "kind": "instance",
        "instantiates": [PUBLISHED],
        "software": {"name": "koord-adapter", "version": version("koord-adapter")},
        "implementation": {
            "description": f"Coordination of {settings.region.name}: interventions, care plans and consents",
            "url": f"{settings.server.base_url.rstrip('/')}/fhir",
        },
        "fhirVersion": definitions(release).version,
        "format": [*WRITTEN, "json", "xml"],
        "rest": [
            {
                "mode": "server",
                "documentation": (
                    "FHIR 4.0 and 5.0, by the parameter fhirVersion in Accept and Content-Type; 4.0 if it is not there. "
                    "A record is known by the identifier in its resource. Known records are updated with If-Match. "
                    "Writes are answered without content. Every read passes the patient's consents and blocks, and "
                    "what may not be read looks like what is not there. A request with the X-Request-Id of an earlier "
                    "one is answered as that was."
                ),
                "security": {"cors": False, "description": _LOGINS[settings.server.authentication]},
                "resource": [_resource(resource_type) for resource_type in TYPES],
                "interaction": [
                    {
                        "code": "transaction",
                        "documentation": (
                            "Entries with PUT or POST. The records in it are taken over as a whole or not at all; the "
                            "resources around them as parts of the records."
                        ),
                    }
                ],
            }
        ],
    }


def _resource(resource_type: str) -> dict[str, Any]:
    return {
        "type": resource_type,
        "supportedProfile": [f"{EXTENSION}{profile}" for profile in _PROFILES[resource_type]],
        "documentation": "A resource that comes alone contains what it refers to and brings its Provenance in the X-Provenance header.",
        "interaction": [
            {"code": "read"},
            {"code": "create"},
            {"code": "update"},
            {"code": "search-type", "documentation": "Only POST [type]/_search."},
        ],
        "versioning": "versioned-update",
        "readHistory": False,
        "updateCreate": True,
        "conditionalCreate": False,
        "conditionalRead": "not-match",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [
            {
                "name": "patient",
                "definition": _DEFINITIONS[resource_type],
                "type": "reference",
                "documentation": "Required, once, and as patient:identifier=system|number in the body.",
            }
        ],
    }
