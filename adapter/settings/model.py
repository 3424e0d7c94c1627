"""
What can be set, and what must agree. Every name is known; a name or value that is not as described here stops the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from adapter.definitions import Release
from adapter.errors import Fault, Misconfigured
from adapter.sweden import HsaId, Mode, OrganisationNumber, identifier_systems
from adapter.wire.media import RELEASES, Version

Recipient = Literal[
    "forsakringskassan", "arbetsgivare", "arbetsformedlingen", "kommun", "samordningsforbund", "vard", "patient"
]
"""The closed list of those something may be sent to (lag 2019:1297 3 and 4 §§; the patient has a right of access)."""

Role = Literal["care-provider", "outside-actor", "local-system"]
"""What a caller may do: read and write FHIR; receive and answer only; use the records API."""

Authentication = Literal["mtls", "token", "either", "none"]
Network = Literal["public", "private", "loopback"]


def _absolute(path: Path, info: ValidationInfo) -> Path:
    """Paths in the file are read from the file's own folder."""
    return Path((info.context or {}).get("folder", ".")) / path.expanduser()


def _address(url: str) -> str:
    """Scheme, host, port and path, and nothing that two readers could take for different hosts."""
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0 or set(url) & set("@?#\\"):
        raise ValueError("not an address")
    return url


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[!-~]{1,500}$"), AfterValidator(_address)]
FilePath = Annotated[Path, AfterValidator(_absolute)]
Seconds = Annotated[float, Field(gt=0, le=600)]
Days = Annotated[int, Field(ge=0, le=36500)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Region(_Part):
    """Who we are: the region that coordinates, as it is named in what we send."""

    name: Line
    provider: HsaId
    """HSA-id of the care provider (vårdgivare) that answers for the data."""
    unit: HsaId
    """HSA-id of the care unit that coordinates."""
    organisation_number: OrganisationNumber
    source_system: HsaId
    """HSA-id of the system that the records come from."""


class Store(_Part):
    path: FilePath
    key_file: FilePath
    """The ring of keys that bodies are encrypted with."""
    id_key_file: FilePath
    """The secret under which resource ids and patient keys are derived from identifiers."""


class Audit(_Part):
    """How the audit log is signed at intervals, so that what is said of it can be kept elsewhere."""

    key_file: FilePath
    """The Ed25519 private key (PEM) that signs."""
    checkpoint_file: FilePath
    """Where signed checkpoints are appended, one a line. Copies belong on another machine."""
    every_rows: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    every_minutes: Annotated[int, Field(ge=1, le=1_440)] = 60


class ServerTls(_Part):
    certificate: FilePath
    key: FilePath
    ca: FilePath | None = None
    """The issuers of client certificates that are trusted. Required with ``mtls`` and ``either``."""


class Limits(_Part):
    """What one caller may take of us. Sizes in bytes, times in seconds."""

    body_bytes: Annotated[int, Field(ge=1_000, le=100_000_000)] = 10_000_000
    header_bytes: Annotated[int, Field(ge=1_000, le=65_536)] = 16_384
    header_count: Annotated[int, Field(ge=10, le=500)] = 100
    header_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    stop_timeout_s: Seconds = 10.0
    connections: Annotated[int, Field(ge=1, le=100_000)] = 1_000


class Server(_Part):
    host: Line = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8443
    """0 asks the machine for a free port."""
    base_url: Url
    """The address that callers use for us; a token must be made out to exactly this."""
    authentication: Authentication
    tls: ServerTls | None = None
    limits: Limits = Limits()


class DestinationTls(_Part):
    ca: FilePath | None = None
    """The issuers of the peer's server certificate; the machine's own list if left out."""
    certificate: FilePath | None = None
    key: FilePath | None = None


class DestinationToken(_Part):
    """We log in with a bearer token of our own making, signed with ``key`` (private JWK, ES384 or RS384)."""

    key: FilePath
    issuer: Line
    """The name under which the peer knows us."""
    audience: Line


class Link(_Part):
    """How one other system is reached. ``production`` says which of the two worlds it belongs to, and has no default on purpose."""

    url: Url
    network: Network = "public"
    """What kind of address the host name may lead to; any other kind is refused."""
    production: bool
    format: Literal["json", "xml"] = "json"
    fhir_version: Version = "4.0"
    """The release of FHIR that it reads."""
    tls: DestinationTls = DestinationTls()
    token: DestinationToken | None = None
    echoes_request_id: bool = True
    """Whether the peer repeats X-Request-Id; if so, an answer without it is a middlebox's."""
    max_inflight: Annotated[int, Field(ge=1, le=256)] = 4
    send_timeout_s: Annotated[float, Field(gt=0, le=120)] = 20.0

    @property
    def release(self) -> Release:
        return RELEASES[self.fhir_version]


class Destination(Link):
    """Somewhere we send."""

    id: Name
    recipient: Recipient
    hsa_id: HsaId | None = None
    provider: HsaId | None = None
    """The care provider that a unit in care belongs to; ``hsa_id`` itself if left out. An outer spärr asks for it."""
    organisation_number: OrganisationNumber | None = None
    binding: Literal["rest"] = "rest"
    allows_protected_identity: bool = False
    """Whether persons with protected identity may be sent here."""
    on_error: Literal["block", "skip"] = "block"

    @property
    def organisation(self) -> tuple[str, str] | None:
        """The organisation as FHIR ``(system, value)``: HSA-id if there is one, else organisation number."""
        if self.hsa_id is not None:
            return identifier_systems()["hsaid"].uri, self.hsa_id
        if self.organisation_number is not None:
            return identifier_systems()["orgnr"].uri, self.organisation_number
        return None


class Journal(Link):
    """
    The region's own journal system, where every disclosure is entered (PDL 3 kap. 11 §).

    ``required`` has no default on purpose. True: nothing is sent before the journal has acknowledged that it is about to
    be. False: it is sent whether or not the journal answers, and entered there as soon as it does.
    """

    required: bool


JOURNAL: Final = "@journal"
"""The journal's id among destinations. No id in the settings can be this."""


class Peer(_Part):
    """Someone who may call: known by the HSA-id in its certificate, by the keys that sign its tokens, or both."""

    id: Name
    role: Role
    hsa_id: HsaId | None = None
    jwks: FilePath | None = None
    organisation: HsaId | OrganisationNumber
    """Whom it speaks for."""


class Retention(_Part):
    """How long what is durable is kept, in days. Care documentation at least ten years (PDL 3:17), access logs at least five (HSLF-FS 2016:40 4:9)."""

    records_days: Annotated[int, Field(ge=3_653, le=36_500)] = 3_653
    audit_days: Annotated[int, Field(ge=1_827, le=36_500)] = 3_653
    messages_days: Days = 90
    """Bodies of delivered messages."""


class Settings(_Part):
    """
    All settings, checked also against each other.

    Raises:
        Misconfigured: a rule between settings is broken.
        ValidationError: a value alone is wrong. ``load`` turns it into Misconfigured.
    """

    mode: Mode
    region: Region
    store: Store
    audit: Audit | None = None
    """Left out, the audit log is still chained, and nothing is signed."""
    server: Server
    destinations: tuple[Destination, ...] = ()
    journal: Journal | None = None
    """Left out, the disclosures in the store are the entries (docs/journal.md)."""
    peers: tuple[Peer, ...] = ()
    overlays: tuple[FilePath, ...] = ()
    """Files with the region's own codes, laid over the shipped tables."""
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        faults = tuple(_broken_rules(self))
        if faults:
            raise Misconfigured(faults)
        return self

    @property
    def links(self) -> dict[str, tuple[str, Link]]:
        """Every other system that we send to: by destination id its place in the settings, and how it is reached."""
        found: dict[str, tuple[str, Link]] = {
            each.id: (f"destinations[{number}]", each) for number, each in enumerate(self.destinations)
        }
        return found if self.journal is None else {**found, JOURNAL: ("journal", self.journal)}

    def destination(self, name: str) -> Destination:
        """
        The destination with this id.

        Raises:
            Misconfigured: ``config.no-such-destination``.
        """
        for destination in self.destinations:
            if destination.id == name:
                return destination
        raise Misconfigured(Fault("config.no-such-destination", "destinations"))


def _broken_rules(settings: Settings) -> Iterator[Fault]:
    yield from _server_rules(settings)
    yield from _twice("destinations", [destination.id for destination in settings.destinations])
    yield from _twice("peers", [peer.id for peer in settings.peers])
    yield from _twice("peers", [peer.hsa_id.upper() for peer in settings.peers if peer.hsa_id], "hsa_id")
    for place, hsa_id in _hsa_ids(settings):
        if settings.mode == "production" and hsa_id.is_test:
            yield Fault("config.test-in-production", place)
    for number, destination in enumerate(settings.destinations):
        yield from _destination_rules(settings.mode, f"destinations[{number}]", destination)
    if settings.journal is not None:
        yield from _link_rules(settings.mode, "journal", settings.journal)
    for number, peer in enumerate(settings.peers):
        yield from _peer_rules(settings.server.authentication, f"peers[{number}]", peer)


def _server_rules(settings: Settings) -> Iterator[Fault]:
    server = settings.server
    sheltered = settings.mode == "test" and _is_loopback(server.host)
    if server.authentication == "none" and not sheltered:
        yield Fault("config.open-door", "server.authentication")
    if server.tls is None and not (sheltered and server.authentication in {"none", "token"}):
        yield Fault("config.tls-required", "server.tls")
    if server.tls is not None and server.authentication in {"mtls", "either"} and server.tls.ca is None:
        yield Fault("config.missing", "server.tls.ca", f"authentication = {server.authentication}")
    yield from _url_rules("server.base_url", server.base_url, plain=server.tls is None and sheltered)


def _destination_rules(mode: Mode, place: str, destination: Destination) -> Iterator[Fault]:
    if destination.organisation is None and destination.recipient != "patient":
        yield Fault(
            "config.missing", f"{place}.organisation_number", "who receives is named by hsa_id or organisation_number"
        )
    yield from _link_rules(mode, place, destination)


def _link_rules(mode: Mode, place: str, link: Link) -> Iterator[Fault]:
    if mode == "test" and link.production:
        yield Fault("config.production-in-test", f"{place}.production")
    if mode == "production" and not link.production:
        yield Fault("config.test-in-production", f"{place}.production")
    if link.network == "loopback" and mode == "production":
        yield Fault("config.test-in-production", f"{place}.network")
    if (link.tls.certificate is None) != (link.tls.key is None):
        yield Fault("config.missing", f"{place}.tls", "certificate and key belong together")
    sheltered = mode == "test" and link.network == "loopback"
    yield from _url_rules(f"{place}.url", link.url, plain=sheltered)
    if urlsplit(link.url).scheme == "https" and not (link.tls.certificate or link.token):
        yield Fault(
            "config.missing", f"{place}.tls.certificate", "the peer must be able to know us: a certificate or a token"
        )


def _peer_rules(authentication: Authentication, place: str, peer: Peer) -> Iterator[Fault]:
    by_certificate = authentication in {"mtls", "either"} and peer.hsa_id is not None
    by_token = authentication in {"token", "either"} and peer.jwks is not None
    if authentication != "none" and not (by_certificate or by_token):
        yield Fault(
            "config.missing",
            f"{place}.{'jwks' if authentication == 'token' else 'hsa_id'}",
            f"authentication = {authentication}",
        )


def _url_rules(place: str, url: str, *, plain: bool) -> Iterator[Fault]:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (plain and _is_loopback(parts.hostname or "")):
        yield Fault("config.tls-required", place)


def _twice(list_name: str, names: list[str], field: str = "id") -> Iterator[Fault]:
    if len(set(names)) != len(names):
        yield Fault("config.twice", list_name, field)


def _hsa_ids(settings: Settings) -> Iterator[tuple[str, HsaId]]:
    region = settings.region
    yield from (
        ("region.provider", region.provider),
        ("region.unit", region.unit),
        ("region.source_system", region.source_system),
    )
    for number, destination in enumerate(settings.destinations):
        if destination.hsa_id is not None:
            yield f"destinations[{number}].hsa_id", destination.hsa_id
        if destination.provider is not None:
            yield f"destinations[{number}].provider", destination.provider
    for number, peer in enumerate(settings.peers):
        if peer.hsa_id is not None:
            yield f"peers[{number}].hsa_id", peer.hsa_id
        if isinstance(peer.organisation, HsaId):
            yield f"peers[{number}].organisation", peer.organisation


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
