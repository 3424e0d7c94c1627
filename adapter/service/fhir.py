"""
The FHIR routes (R4 http.html): transaction, create, read, update, and search by the patient's identity number.

Writes are answered with a receipt and never with the content: what leaves passes the gate, and a write is no reason to look.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from pydantic import TypeAdapter

from adapter import flows
from adapter.domain import PersonIdentity, read_part
from adapter.errors import Conflict, Denied, Fault, Invalid
from adapter.mapping import searchset
from adapter.service import answers, packages
from adapter.service.capability import capability_statement
from adapter.service.door import Call, Door
from adapter.service.negotiation import media_asked, require_form_data
from adapter.settings import Role
from adapter.sweden import identifier_systems
from adapter.transport.login import Caller

PROVIDER: Final[Role] = "care-provider"

_PATIENT: Final = "patient:identifier"
_IDENTITY: Final = TypeAdapter(PersonIdentity)


def add_routes(app: FastAPI, door: Door) -> None:
    """The order matters: a path that is written out comes before one with a place for it."""
    for base in ("/fhir", "/fhir/"):
        app.add_api_route(base, door.guarded(PROVIDER, transaction), methods=["POST"])
    app.add_api_route("/fhir/metadata", door.opened(metadata), methods=["GET", "HEAD"])
    app.add_api_route("/fhir/{type}", door.guarded(PROVIDER, create), methods=["POST"])
    app.add_api_route("/fhir/{type}", door.guarded(PROVIDER, search_by_address), methods=["GET", "HEAD"])
    app.add_api_route("/fhir/{type}/_search", door.guarded(PROVIDER, search), methods=["POST"])
    app.add_api_route("/fhir/{type}/_search", door.guarded(PROVIDER, search_by_address), methods=["GET", "HEAD"])
    app.add_api_route("/fhir/{type}/{id}", door.guarded(PROVIDER, read), methods=["GET", "HEAD"])
    app.add_api_route("/fhir/{type}/{id}", door.guarded(PROVIDER, update), methods=["PUT"])


async def metadata(call: Call) -> Response:
    call.allow_parameters("_format")
    media = call.media
    return answers.resource(media, capability_statement(call.adapter.settings, media.release))


async def transaction(call: Call, caller: Caller) -> Response:
    call.allow_parameters("_format")
    media = call.media
    bundle, original, release = await call.resource()
    entries = packages.entries_of(bundle)
    received = await flows.receive(
        call.adapter,
        bundle,
        release=release,
        original=original,
        caller=caller,
        request_id=call.visit.request_id,
        expected=[entry.expected for entry in entries if entry.is_focus],
    )
    return answers.resource(media, packages.transaction_response(entries, received), headers=_replayed(received))


async def create(call: Call, caller: Caller) -> Response:
    """A record that is new; one that is known under the same identifier is a conflict, never a duplicate."""
    call.allow_parameters("_format")
    resource_type = _type(call)
    if "if-none-exist" in call.request.headers:
        raise Invalid(Fault("exchange.conditional", "If-None-Exist"))
    return await _write(call, caller, resource_type, "", expected=0, otherwise="exchange.exists")


async def update(call: Call, caller: Caller) -> Response:
    """A new version of a record, or with a new identifier the first: the identifier in the resource decides."""
    call.allow_parameters("_format")
    resource_type, logical_id = _type(call), call.place("id")
    if packages.LOGICAL_ID.fullmatch(logical_id) is None:
        raise Invalid(Fault("exchange.other-id", f"{resource_type}.id"))
    headers = call.request.headers
    expected = packages.precondition(_one(call, "If-Match"), _one(call, "If-None-Match"), "If-Match")
    unconditional = "if-match" not in headers and "if-none-match" not in headers
    otherwise = "exchange.version-required" if unconditional else ""
    return await _write(call, caller, resource_type, logical_id, expected=expected or 0, otherwise=otherwise)


async def read(call: Call, caller: Caller) -> Response:
    call.allow_parameters("_format")
    resource_type, logical_id = _type(call), call.place("id")
    reader = flows.Reader(caller, call.visit.request_id, call.media)
    if packages.LOGICAL_ID.fullmatch(logical_id) is None:
        raise Denied(Fault("exchange.not-found", resource_type))
    answer = await flows.read_one(call.adapter, resource_type, logical_id, reader)
    tag = packages.etag(answer.version)
    if tag in _tags(call.request):
        return Response(status_code=304, headers={"ETag": tag})
    return answers.from_cleared(answer.cleared, etag=tag)


async def search(call: Call, caller: Caller) -> Response:
    """Nothing found and nothing that this caller may have are the same answer."""
    call.allow_parameters("_format")
    resource_type = _type(call)
    reader = flows.Reader(caller, call.visit.request_id, call.media)
    require_form_data(call.request)
    identity = _patient(call, await call.request.body())
    answer = await flows.search(call.adapter, resource_type, identity, reader)
    if answer:
        return answers.from_cleared(answer.cleared)
    return answers.resource(reader.media, searchset((), resource_type, reader.media.release))


async def search_by_address(call: Call, _: Caller) -> Response:
    fault = Fault("exchange.search-by-post", _type(call))
    call.visit.code = fault.code
    return answers.outcome(call.request, fault.entry.status, [fault], headers={"Allow": "POST"})


async def _write(  # noqa: PLR0913  what a write is
    call: Call, caller: Caller, resource_type: str, logical_id: str, *, expected: int, otherwise: str
) -> Response:
    """Take over one resource. ``otherwise``: what to say, rather than that a version is stale, if the record is known."""
    media_asked(call.request)
    content, original, release = await call.resource()
    if content.get("resourceType") != resource_type:
        raise Invalid(Fault("exchange.other-type", "resourceType"))
    if logical_id and content.get("id") != logical_id:
        raise Invalid(Fault("exchange.other-id", f"{resource_type}.id"))
    package = packages.package_of(content, call.request.headers.getlist("X-Provenance"))
    try:
        received = await flows.receive(
            call.adapter,
            package,
            release=release,
            original=original,
            caller=caller,
            request_id=call.visit.request_id,
            expected=[expected],
        )
    except Conflict as conflict:
        if otherwise and conflict.first.code == "store.stale-version":
            raise Conflict(Fault(otherwise, resource_type)) from None
        raise
    written = received.written[0]  # a record that it contains comes after it
    headers = {
        "Location": f"{_base(call)}/{packages.location(written, logical_id)}",
        "ETag": packages.etag(written.version),
        **_replayed(received),
    }
    status = 201 if written.created else 200
    told = received.losses or ([Fault("exchange.stored", severity="information")] if _wants_outcome(call) else [])
    return answers.outcome(call.request, status, told, headers=headers) if told else Response(None, status, headers)


def _type(call: Call) -> str:
    resource_type = call.place("type")
    if resource_type not in packages.TYPES:
        raise Invalid(Fault("exchange.unsupported-type"))
    return resource_type


def _one(call: Call, header: str) -> str | None:
    """The header's value; two of them are joined, which no condition of ours reads as one."""
    return ", ".join(call.request.headers.getlist(header)) or None


def _tags(request: Request) -> set[str]:
    """If-None-Match: the entity tags that the caller has (RFC 9110, section 13.1.2; weak comparison)."""
    given = ",".join(request.headers.getlist("if-none-match")).split(",")
    return {f"W/{tag.strip().removeprefix('W/')}" for tag in given}


def _wants_outcome(call: Call) -> bool:
    """Prefer: return=OperationOutcome, or representation, which is never given to a writer (FHIR R4 http.html, ops.html)."""
    preferences = ",".join(call.request.headers.getlist("prefer")).replace(" ", "").split(",")
    return bool({"return=OperationOutcome", "return=representation"} & set(preferences))


def _replayed(received: flows.Received) -> dict[str, str]:
    return {"X-Replayed": "true"} if received.replayed else {}


def _base(call: Call) -> str:
    return f"{call.adapter.settings.server.base_url.rstrip('/')}/fhir"


def _patient(call: Call, body: bytes) -> PersonIdentity:
    """
    Whom a search is about.

    Raises:
        Invalid: ``exchange.search-parameter``, ``exchange.search-value``.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8
        )
    except ValueError:
        raise Invalid(Fault("exchange.search-parameter", "body")) from None
    if [name for name, _ in pairs] != [_PATIENT]:
        raise Invalid(Fault("exchange.search-parameter", "body"))
    system, _, number = pairs[0][1].partition("|")
    kinds = [each.key for each in identifier_systems().values() if each.person and system in {each.uri, *each.accept}]
    document: Any = {"kind": kinds[0] if kinds else "", "number": number}
    settings, today = call.adapter.settings, call.adapter.clock().date()
    try:
        identity, _warnings = read_part(_IDENTITY, document, mode=settings.mode, today=today)
    except Invalid:
        raise Invalid(Fault("exchange.search-value", _PATIENT)) from None
    return identity
