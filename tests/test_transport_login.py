import asyncio
import base64
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from adapter.certs import Authority, create_signing_key, signing_key
from adapter.errors import Denied, Misconfigured
from adapter.settings import Settings
from adapter.transport.login import Login, NotAuthenticated

BASE = "https://127.0.0.1:8443"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
JOURNAL, LOCAL = "TSTNMT2321000016-J001", "TSTNMT2321000016-L001"


class Seen:
    """Remembers in memory what the store remembers on disk."""

    def __init__(self):
        self.tokens = {}

    async def __call__(self, issuer, jti, /, *, expires, now):
        assert expires > now
        first = (issuer, jti) not in self.tokens
        self.tokens[issuer, jti] = expires
        return first


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority.create(folder)
    authority.issue_client("journal", JOURNAL)
    authority.issue_client("local", LOCAL)
    authority.issue_client("stranger", "TSTNMT2321000016-X001")
    authority.issue_client("lower", JOURNAL.lower().replace("tstnmt", "TSTNMT"))
    authority.issue_server("server")
    create_signing_key(folder, "journal")
    create_signing_key(folder, "local")
    rsa = RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)
    (folder / "rsa.jwks").write_text(json.dumps({"keys": [rsa.as_dict(private=False)]}), "utf-8")
    (folder / "rsa.jwk").write_text(json.dumps(rsa.as_dict(private=True)), "utf-8")
    return folder


def settings(folder, authentication="either"):
    peers = [
        {"id": "journal", "role": "care-provider", "hsa_id": JOURNAL, "jwks": folder / "journal.jwks"},
        {"id": "local", "role": "local-system", "hsa_id": LOCAL, "jwks": folder / "local.jwks"},
        {"id": "rsa", "role": "outside-actor", "hsa_id": "TSTNMT2321000016-R001", "jwks": folder / "rsa.jwks"},
    ]
    tls = {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"}
    server = {"base_url": BASE, "authentication": authentication, "tls": tls}
    region = {
        "name": "Region Exempel",
        "provider": "TSTNMT2321000016-A000",
        "unit": "TSTNMT2321000016-A001",
        "organisation_number": "2321000016",
        "source_system": "TSTNMT2321000016-S001",
    }
    store = {"path": "s", "key_file": "k", "id_key_file": "i"}
    owned = [peer | {"organisation": "TSTNMT2321000016-A000"} for peer in peers]
    return Settings.model_validate({"mode": "test", "region": region, "store": store, "server": server, "peers": owned})


@pytest.fixture(scope="module")
def door(folder):
    return Login(settings(folder), Seen())


def certificate(folder, name):
    return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes()).public_bytes(Encoding.DER)


def scope(*tokens, client=None):
    extensions = {} if client is None else {"tls": {"client_certificate": client}}
    headers = [
        (b"authorization", token if isinstance(token, bytes) else b"Bearer " + token.encode()) for token in tokens
    ]
    return {"type": "http", "headers": [(b"host", b"localhost"), *headers], "extensions": extensions}


def enter(door, *tokens, client=None, now=NOW):
    return asyncio.run(door.caller(scope(*tokens, client=client), now=now))


def refused(door, *tokens, client=None, now=NOW):
    with pytest.raises(NotAuthenticated) as error:
        enter(door, *tokens, client=client, now=now)
    assert error.value.first.code == "auth.refused"
    return error.value.reason


COUNTER = iter(range(10**6))


def claims(**changes):
    good = {
        "iss": "journal",
        "sub": "journal",
        "aud": BASE,
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + timedelta(minutes=4)).timestamp()),
        "jti": f"{next(COUNTER):016}",
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def signed(folder, content=None, *, key=None, header=None):
    key = key or signing_key(folder / "journal.jwk")
    header = {"alg": "ES384" if isinstance(key, ECKey) else "RS384", "kid": key.kid} | (header or {})
    payload = json.dumps(claims() if content is None else content) if not isinstance(content, str) else content
    everything = ["ES256", "ES384", "ES512", "RS256", "RS384", "PS384", "HS256", "HS384", "Ed25519"]
    registry = jws.JWSRegistry(algorithms=everything, strict_check_header=False)
    return jws.serialize_compact(
        {key: value for key, value in header.items() if value is not ...}, payload, key, registry=registry
    )


def part(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def forged(folder, *, header=None, payload=None):
    """Another head or body over the signature of a good token."""
    head, body, signature = signed(folder).split(".")
    return f"{head if header is None else part(header)}.{body if payload is None else part(payload)}.{signature}"


def test_a_certificate_lets_its_holder_in(door, folder):
    caller = enter(door, client=certificate(folder, "journal"))
    assert (caller.peer, caller.roles, caller.organisation) == ("journal", {"care-provider"}, "TSTNMT2321000016-A000")


def test_the_case_of_an_hsa_id_does_not_matter(door, folder):
    assert enter(door, client=certificate(folder, "lower")).peer == "journal"


@pytest.mark.parametrize(
    ("name", "reason"), [("stranger", "unknown-certificate"), ("server", "certificate-names-nobody")]
)
def test_a_certificate_of_nobody_we_know_is_refused(door, folder, name, reason):
    assert refused(door, client=certificate(folder, name)) == reason


def test_a_signed_token_lets_its_signer_in(door, folder):
    assert enter(door, signed(folder)).peer == "journal"


def test_a_token_signed_with_rsa_lets_its_signer_in(door, folder):
    token = signed(folder, claims(iss="rsa", sub="rsa"), key=signing_key(folder / "rsa.jwk"))
    assert enter(door, token).roles == {"outside-actor"}


def test_a_certificate_and_a_token_of_one_peer_agree(door, folder):
    assert enter(door, signed(folder), client=certificate(folder, "journal")).peer == "journal"


def test_a_certificate_and_a_token_of_two_peers_are_refused(door, folder):
    assert refused(door, signed(folder), client=certificate(folder, "local")) == "two-peers"


def test_a_good_certificate_does_not_excuse_a_bad_token(door, folder):
    assert refused(door, "a.b.c", client=certificate(folder, "journal")) == "not-a-token"


def test_a_good_token_does_not_excuse_an_unknown_certificate(door, folder):
    assert refused(door, signed(folder), client=certificate(folder, "stranger")) == "unknown-certificate"


def test_nothing_shown_is_not_let_in(door):
    with pytest.raises(NotAuthenticated) as error:
        enter(door)
    assert error.value.first.code == "auth.required"


def test_only_what_the_settings_ask_for_counts(folder):
    by_certificate, by_token = Login(settings(folder, "mtls"), Seen()), Login(settings(folder, "token"), Seen())
    for door, shown in ((by_certificate, {"client": None}), (by_token, {"client": certificate(folder, "journal")})):
        with pytest.raises(Denied) as error:
            enter(door, *([signed(folder)] if door is by_certificate else []), **shown)
        assert error.value.first.code == "auth.required"


def test_a_token_is_used_once(door, folder):
    token = signed(folder)
    enter(door, token)
    assert refused(door, token) == "replayed"


def test_two_peers_may_happen_to_use_one_jti(door, folder):
    enter(door, signed(folder, claims(jti="0123456789abcdef")))
    local = claims(iss="local", sub="local", jti="0123456789abcdef")
    assert enter(door, signed(folder, local, key=signing_key(folder / "local.jwk"))).peer == "local"


def test_a_token_that_is_not_accepted_is_not_remembered(folder):
    seen = Seen()
    door = Login(settings(folder), seen)
    good = claims()
    refused(door, signed(folder, good | {"aud": "https://other"}))
    refused(door, forged(folder, payload=good))
    assert seen.tokens == {}


def test_a_token_holds_until_its_last_second_and_not_after(door, folder):
    content = claims()
    ends = datetime.fromtimestamp(content["exp"], UTC)
    assert enter(door, signed(folder, content), now=ends - timedelta(microseconds=1)).peer == "journal"
    assert refused(door, signed(folder, claims()), now=ends) == "expired"


SECONDS = int(NOW.timestamp())

BAD_CLAIMS = {
    "no issuer": {"iss": ...},
    "an unknown issuer": {"iss": "nobody", "sub": "nobody"},
    "an issuer that is a list": {"iss": ["journal"]},
    "an issuer with a blank": {"iss": "journal "},
    "an issuer in capitals": {"iss": "JOURNAL", "sub": "JOURNAL"},
    "another peer as issuer": {"iss": "local", "sub": "local"},
    "no subject": {"sub": ...},
    "another subject": {"sub": "local"},
    "no audience": {"aud": ...},
    "another audience": {"aud": "https://other"},
    "an audience that only begins right": {"aud": BASE + "/fhir"},
    "our audience among others": {"aud": [BASE, "https://other"]},
    "no audience in a list": {"aud": []},
    "an audience that is true": {"aud": True},
    "no end": {"exp": ...},
    "an end long past": {"exp": SECONDS - 3600, "iat": SECONDS - 3700},
    "an end just past": {"exp": SECONDS, "iat": SECONDS - 60},
    "an end far away": {"exp": SECONDS + 301},
    "an end before the start": {"iat": SECONDS + 20, "exp": SECONDS + 10},
    "an end that is text": {"exp": str(SECONDS + 60)},
    "an end that is true": {"exp": True},
    "an end that is not whole": {"exp": SECONDS + 60.5},
    "an end that never comes": {"exp": 10**30},
    "a negative end": {"exp": -1},
    "no start": {"iat": ...},
    "a start in the future": {"iat": SECONDS + 60},
    "a start long ago": {"iat": SECONDS - 3600},
    "a start that is null": {"iat": None},
    "not before a later time": {"nbf": SECONDS + 60},
    "not before text": {"nbf": "now"},
    "no jti": {"jti": ...},
    "an empty jti": {"jti": ""},
    "a short jti": {"jti": "1"},
    "a long jti": {"jti": "a" * 129},
    "a jti that is a number": {"jti": 1234567890123456},
    "a jti with a line break": {"jti": "0123456789abcdef\n"},
}


@pytest.mark.parametrize("changes", BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_wrong_claims_are_refused_though_rightly_signed(door, folder, changes):
    refused(door, signed(folder, claims(**changes)))


BAD_HEADERS = {
    "no algorithm": {"alg": "none"},
    "no algorithm in capitals": {"alg": "NONE"},
    "no kid": {"kid": ...},
    "an unknown kid": {"kid": "other"},
    "a kid that is a path": {"kid": "../../etc/passwd"},
    "a kid that is SQL": {"kid": "' OR 1=1 --"},
    "a kid that is a list": {"kid": ["a"]},
    "a kid that is null": {"kid": None},
    "a link to keys": {"jku": "https://evil.example/keys"},
    "a link to a certificate": {"x5u": "https://evil.example/cert"},
    "a certificate": {"x5c": ["MII"]},
    "a key": {"jwk": {"kty": "oct", "k": "AAAA"}},
    "something critical": {"crit": ["exp"], "exp": 1},
    "an unencoded payload": {"b64": False, "crit": ["b64"]},
    "another type": {"typ": "at+jwt"},
    "compression": {"zip": "DEF"},
    "another content": {"cty": "JWT"},
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_head_that_asks_for_more_is_refused(door, folder, header):
    good = {"alg": "ES384", "kid": signing_key(folder / "journal.jwk").kid}
    changed = {name: value for name, value in (good | header).items() if value is not ...}
    refused(door, forged(folder, header=changed))


def public_pem(folder):
    return signing_key(folder / "rsa.jwk").as_pem(private=False)


def confused(folder, name):
    kid = signing_key(folder / "rsa.jwk").kid
    content = claims(iss="rsa", sub="rsa")
    if name == "HS384 with the public key":
        head = f"{part({'alg': 'HS384', 'kid': kid})}.{part(content)}"
        return f"{head}.{part(hmac.digest(public_pem(folder), head.encode(), 'sha384'))}"
    if name == "ES384 by a stranger":
        return signed(
            folder, claims(), key=ECKey.generate_key("P-384"), header={"kid": signing_key(folder / "journal.jwk").kid}
        )
    if name == "Ed25519 by a stranger":
        key = OKPKey.generate_key("Ed25519")
        return signed(
            folder, claims(), key=key, header={"alg": "Ed25519", "kid": signing_key(folder / "journal.jwk").kid}
        )
    rsa = signing_key(folder / "rsa.jwk")
    return signed(
        folder,
        content,
        key=rsa,
        header={"alg": {"RS256 with the right key": "RS256", "PS384 with the right key": "PS384"}[name]},
    )


@pytest.mark.parametrize(
    "name",
    [
        "HS384 with the public key",
        "ES384 by a stranger",
        "Ed25519 by a stranger",
        "RS256 with the right key",
        "PS384 with the right key",
    ],
)
def test_algorithms_are_not_mixed_up(door, folder, name):
    refused(door, confused(folder, name))


def test_the_algorithm_of_one_kind_of_key_does_not_go_with_another(door, folder):
    kid = signing_key(folder / "journal.jwk").kid
    assert refused(door, forged(folder, header={"alg": "RS384", "kid": kid})) == "algorithm"


DEEP = b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"

BAD_SHAPES = {
    "nothing": b"",
    "no scheme": b"a.b.c",
    "another scheme": b"Basic dXNlcjpwYXNz",
    "two spaces": b"Bearer  a.b.c",
    "no token": b"Bearer ",
    "two parts": b"Bearer aaaa.bbbb",
    "four parts": b"Bearer aaaa.bbbb.cccc.dddd",
    "five parts": b"Bearer aaaa.bbbb.cccc.dddd.eeee",
    "no signature": b"Bearer aaaa.bbbb.",
    "padding": b"Bearer aaa=.bbbb.cccc",
    "plain base64": b"Bearer aa+/.bbbb.cccc",
    "not JSON": b"Bearer aaaa.bbbb.cccc",
    "a line break": b"Bearer aaaa.bbbb.cccc\n",
    "raw bytes": b"Bearer \xff\xfe.bbbb.cccc",
    "a list": f"Bearer {part([])}.{part([])}.cccc".encode(),
    "a huge head": b"Bearer " + b"a" * 100_000 + b".bbbb.cccc",
    "a huge body": b"Bearer aaaa." + b"b" * 100_000 + b".cccc",
    "a huge signature": b"Bearer aaaa.bbbb." + b"c" * 100_000,
    "a deep body": f"Bearer {part({'alg': 'ES384'})}.{part(DEEP)}.cccc".encode(),
}


@pytest.mark.parametrize("shown", BAD_SHAPES.values(), ids=BAD_SHAPES)
def test_what_is_not_a_token_is_refused(door, shown):
    assert refused(door, shown) in {"not-a-token", "unknown-key"}


def test_a_claim_said_twice_is_refused(door, folder):
    content = json.dumps(claims())[:-1] + ', "sub": "local"}'
    assert refused(door, signed(folder, content)) == "not-a-token"


def test_two_tokens_are_refused(door, folder):
    assert refused(door, signed(folder), signed(folder)) == "two-tokens"


def test_a_changed_payload_is_refused(door, folder):
    assert refused(door, forged(folder, payload=claims())) == "signature"


@given(place=st.integers(0, 600), other=st.characters(codec="ascii", categories=["L", "N"]))
def test_a_token_changed_in_one_place_is_refused(door, folder, place, other):
    token = signed(folder)
    place %= len(token)
    if token[place] != other and place < len(token) - 1:  # the last character carries bits that are not used
        refused(door, token[:place] + other + token[place + 1 :])


@given(shown=st.binary(max_size=400))
def test_noise_is_refused_and_breaks_nothing(door, shown):
    refused(door, shown)
    refused(door, b"Bearer " + shown)


def test_all_refusals_read_the_same(door, folder):
    texts = set()
    for shown in (b"Bearer a.b.c", signed(folder, claims(aud="x")), signed(folder, claims(iss="nobody"))):
        with pytest.raises(Denied) as error:
            enter(door, shown)
        texts.add((str(error.value), error.value.first.as_line(), error.value.status))
    assert len(texts) == 1
    assert texts.pop()[2] == 401


def test_where_no_credentials_are_asked_for_everyone_is_the_test(folder):
    open_ = settings(folder).server.model_copy(update={"authentication": "none"})
    caller = enter(Login(settings(folder).model_copy(update={"server": open_}), Seen()))
    assert (caller.peer, caller.roles) == ("test", {"care-provider", "outside-actor", "local-system"})


def test_a_key_set_that_cannot_be_read_stops_the_start(folder):
    broken = settings(folder).model_copy(
        update={"peers": (settings(folder).peers[0].model_copy(update={"jwks": folder / "none"}),)}
    )
    with pytest.raises(Misconfigured) as error:
        Login(broken, Seen())
    assert (error.value.first.code, error.value.first.where) == ("config.bad-key", "peers[0].jwks")
