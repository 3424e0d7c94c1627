import copy
import json
import stat
import tomllib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapter.certs import Authority, create_signing_key, new_audit_key, write_private
from adapter.domain import ActorCategory
from adapter.errors import Misconfigured, codes
from adapter.settings import FILE_NAME, Recipient, Settings, check_files, init, load, show

TEST = {
    "mode": "test",
    "region": {
        "name": "Region Exempel",
        "provider": "TSTNMT2321000016-A000",
        "unit": "TSTNMT2321000016-A001",
        "organisation_number": "2321000016",
        "source_system": "TSTNMT2321000016-S001",
    },
    "store": {"path": "koord.sqlite", "key_file": "store.keys", "id_key_file": "id.key"},
    "server": {
        "base_url": "https://127.0.0.1:8443",
        "authentication": "either",
        "tls": {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"},
    },
    "destinations": [
        {
            "id": "fk",
            "recipient": "forsakringskassan",
            "organisation_number": "2021005521",
            "url": "https://fk.example/fhir",
            "production": False,
            "tls": {"certificate": "client.pem", "key": "client.key", "ca": "ca.pem"},
        }
    ],
    "peers": [
        {
            "id": "journal",
            "role": "care-provider",
            "organisation": "TSTNMT2321000016-A000",
            "hsa_id": "TSTNMT2321000016-J001",
            "jwks": "journal.jwks",
        }
    ],
}

PRODUCTION = json.loads(json.dumps(TEST).replace("TSTNMT", "SE").replace('"mode": "test"', '"mode": "production"')) | {
    "destinations": [TEST["destinations"][0] | {"production": True}]
}

REMOVED = object()


def changed(values, path, value):
    values = copy.deepcopy(values)
    *parents, last = path.split("/")
    place = values
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
    if isinstance(place, list):
        place.insert(int(last), value)
    elif value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return values


def toml(value):
    """TOML of nested settings, all as dotted keys and inline tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    return json.dumps(value)


@pytest.fixture
def write(tmp_path):
    def write(values):
        path = tmp_path / FILE_NAME
        path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in values.items()), "utf-8")
        return path

    return write


def refused(path, environ=None):
    with pytest.raises(Misconfigured) as error:
        load(path, environ or {})
    return {(fault.code, fault.where) for fault in error.value.faults}


@pytest.mark.parametrize("values", [TEST, PRODUCTION], ids=["test", "production"])
def test_good_settings_are_read_whole(write, values):
    settings = load(write(values), {})
    assert settings.mode == values["mode"]
    assert settings.destination("fk").organisation == ("urn:oid:2.5.4.97", "2021005521")


def test_paths_are_read_from_the_folder_of_the_file(write, tmp_path):
    settings = load(write(TEST), {})
    assert settings.store.path == tmp_path / "koord.sqlite"
    assert settings.destinations[0].tls.key == tmp_path / "client.key"


def test_settings_cannot_be_changed_while_running(write):
    with pytest.raises(ValidationError):
        load(write(TEST), {}).server.port = 1


REFUSALS = [
    # what is right, where it is changed, to what, and which fault that is, where
    (TEST, "mode", "prod", "config.bad-value", "mode"),
    (TEST, "mode", REMOVED, "config.missing", "mode"),
    (TEST, "modus", "test", "config.unknown", "modus"),
    (TEST, "region/nmae", "x", "config.unknown", "region.nmae"),
    (TEST, "region/provider", "SE2321000016", "config.bad-value", "region.provider"),
    (TEST, "region/organisation_number", "2321000017", "config.bad-value", "region.organisation_number"),
    (TEST, "region/name", "", "config.bad-value", "region.name"),
    (TEST, "region/name", "a\nb", "config.bad-value", "region.name"),
    (TEST, "store/key_file", REMOVED, "config.missing", "store.key_file"),
    (TEST, "server/authentication", REMOVED, "config.missing", "server.authentication"),
    (TEST, "server/authentication", "basic", "config.bad-value", "server.authentication"),
    (TEST, "server/port", 70000, "config.bad-value", "server.port"),
    (TEST, "server/port", "many", "config.bad-value", "server.port"),
    (TEST, "server/limits", {"body_timeout_s": 0}, "config.bad-value", "server.limits.body_timeout_s"),
    (TEST, "server/limits", {"body_bytes": 10**12}, "config.bad-value", "server.limits.body_bytes"),
    (TEST, "server/tls/ca", REMOVED, "config.missing", "server.tls.ca"),
    (TEST, "server/tls", REMOVED, "config.tls-required", "server.tls"),
    (PRODUCTION, "server/tls", REMOVED, "config.tls-required", "server.tls"),
    (PRODUCTION, "server/authentication", "none", "config.open-door", "server.authentication"),
    (
        changed(TEST, "server/host", "0.0.0.0"),
        "server/authentication",
        "none",
        "config.open-door",
        "server.authentication",
    ),
    (
        changed(TEST, "server/host", "10.0.0.7"),
        "server/authentication",
        "none",
        "config.open-door",
        "server.authentication",
    ),
    (
        changed(TEST, "server/host", "localhost.example"),
        "server/authentication",
        "none",
        "config.open-door",
        "server.authentication",
    ),
    (TEST, "server/base_url", "http://127.0.0.1:8443", "config.tls-required", "server.base_url"),
    (TEST, "server/base_url", "https://user:secret@host/", "config.bad-value", "server.base_url"),
    (TEST, "destinations/0/id", "F K", "config.bad-value", "destinations[0].id"),
    (TEST, "destinations/0/recipient", "polisen", "config.bad-value", "destinations[0].recipient"),
    (TEST, "destinations/0/binding", "message", "config.bad-value", "destinations[0].binding"),
    (TEST, "destinations/0/format", "csv", "config.bad-value", "destinations[0].format"),
    (TEST, "destinations/0/production", REMOVED, "config.missing", "destinations[0].production"),
    (TEST, "destinations/0/production", True, "config.production-in-test", "destinations[0].production"),
    (PRODUCTION, "destinations/0/production", False, "config.test-in-production", "destinations[0].production"),
    (PRODUCTION, "destinations/0/network", "loopback", "config.test-in-production", "destinations[0].network"),
    (PRODUCTION, "region/provider", "TSTNMT2321000016-A000", "config.test-in-production", "region.provider"),
    (PRODUCTION, "region/unit", "TSTNMT2321000016-A000", "config.test-in-production", "region.unit"),
    (PRODUCTION, "region/source_system", "TSTNMT2321000016-A000", "config.test-in-production", "region.source_system"),
    (
        PRODUCTION,
        "destinations/0/hsa_id",
        "TSTNMT2321000016-A000",
        "config.test-in-production",
        "destinations[0].hsa_id",
    ),
    (PRODUCTION, "peers/0/hsa_id", "TSTNMT2321000016-A000", "config.test-in-production", "peers[0].hsa_id"),
    (PRODUCTION, "peers/0/organisation", "TSTNMT2321000016-A000", "config.test-in-production", "peers[0].organisation"),
    (TEST, "destinations/0/organisation_number", REMOVED, "config.missing", "destinations[0].organisation_number"),
    (TEST, "destinations/0/url", "http://fk.example/fhir", "config.tls-required", "destinations[0].url"),
    (TEST, "destinations/0/url", "http://127.0.0.1/fhir", "config.tls-required", "destinations[0].url"),
    (TEST, "destinations/0/url", "ftp://fk.example/fhir", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/url", "https://fk.example/fhir?_format=json", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/url", "https://fk.example/fhir#x", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/url", "https://user@fk.example/fhir", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/url", "https://fk.example\\@evil.example/", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/url", "https://[::1/", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/url", "https://:443/", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/url", "https://fk.example:99999/", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/url", "https://fk.example/ x", "config.bad-value", "destinations[0].url"),
    (TEST, "destinations/0/network", "any", "config.bad-value", "destinations[0].network"),
    (TEST, "destinations/0/tls/key", REMOVED, "config.missing", "destinations[0].tls"),
    (TEST, "destinations/0/tls", REMOVED, "config.missing", "destinations[0].tls.certificate"),
    (TEST, "destinations/0/send_timeout_s", 3600, "config.bad-value", "destinations[0].send_timeout_s"),
    (TEST, "destinations/0/max_inflight", 0, "config.bad-value", "destinations[0].max_inflight"),
    (TEST, "destinations/0/on_error", "ignore", "config.bad-value", "destinations[0].on_error"),
    (TEST, "destinations/1", TEST["destinations"][0], "config.twice", "destinations"),
    (TEST, "peers/1", TEST["peers"][0], "config.twice", "peers"),
    (TEST, "peers/1", TEST["peers"][0] | {"id": "other", "hsa_id": "TSTNMT2321000016-j001"}, "config.twice", "peers"),
    (TEST, "peers/0/role", "admin", "config.bad-value", "peers[0].role"),
    (TEST, "peers/0/organisation", "everyone", "config.bad-value", "peers[0].organisation"),
    (changed(TEST, "server/authentication", "mtls"), "peers/0/hsa_id", REMOVED, "config.missing", "peers[0].hsa_id"),
    (changed(TEST, "server/authentication", "token"), "peers/0/jwks", REMOVED, "config.missing", "peers[0].jwks"),
    (TEST, "retention", {"records_days": 365}, "config.bad-value", "retention.records_days"),
    (TEST, "retention", {"audit_days": 100}, "config.bad-value", "retention.audit_days"),
]


@pytest.mark.parametrize(
    ("values", "path", "value", "code", "place"),
    REFUSALS,
    ids=[f"{row[4]}-{number}" for number, row in enumerate(REFUSALS)],
)
def test_a_wrong_setting_is_refused_by_its_place(write, values, path, value, code, place):
    assert (code, place) in refused(write(changed(values, path, value)))


def test_two_peers_may_not_share_a_certificate_that_differs_only_in_case(write):
    other = TEST["peers"][0] | {"id": "other", "hsa_id": "TSTNMT2321000016-j001"}
    assert refused(write(changed(TEST, "peers/1", other))) == {("config.twice", "peers")}


def test_only_a_sheltered_test_may_do_without_credentials_and_tls(write):
    server = {"host": "127.0.0.1", "base_url": "http://127.0.0.1:8080", "authentication": "none"}
    assert load(write(TEST | {"server": server}), {}).server.authentication == "none"


def test_a_loopback_destination_in_test_may_do_without_tls(write):
    plain = {key: value for key, value in TEST["destinations"][0].items() if key != "tls"}
    plain |= {"url": "http://127.0.0.1:8090/fhir", "network": "loopback"}
    assert load(write(TEST | {"destinations": [plain]}), {}).destination("fk").url == plain["url"]


def test_the_patient_needs_no_organisation(write):
    patient = {key: value for key, value in TEST["destinations"][0].items() if key != "organisation_number"}
    patient["recipient"] = "patient"
    assert load(write(TEST | {"destinations": [patient]}), {}).destination("fk").organisation is None


def test_an_unknown_destination_is_an_error(write):
    with pytest.raises(Misconfigured) as error:
        load(write(TEST), {}).destination("kommun")
    assert error.value.first.code == "config.no-such-destination"


def test_every_recipient_but_the_patient_is_an_actor_of_the_law():
    assert set(Recipient.__args__) == {category.value for category in ActorCategory} | {"patient"}


# The environment


def test_the_environment_overrides_one_value(write):
    settings = load(
        write(TEST), {"KOORD_SERVER__PORT": "9443", "KOORD_SERVER__TLS__KEY": "/run/secrets/key", "PATH": "/bin"}
    )
    assert settings.server.port == 9443
    assert str(settings.server.tls.key) == "/run/secrets/key"


@pytest.mark.parametrize(
    "name", ["KOORD_PORT", "KOORD_SERVER_PORT", "KOORD_DESTINATIONS", "KOORD_SERVER", "KOORD_server__port", "KOORD_"]
)
def test_a_misspelt_environment_name_is_an_error(write, name):
    assert refused(write(TEST), {name: "1"}) == {("config.unknown-environment", name)}


def test_the_name_of_the_file_itself_is_known(write):
    assert load(write(TEST), {"KOORD_CONFIG": "koord.toml"})


def test_a_wrong_value_in_the_environment_is_told_by_its_setting(write):
    assert refused(write(TEST), {"KOORD_SERVER__PORT": "x"}) == {("config.bad-value", "server.port")}


# The file


def test_a_missing_file_is_told(tmp_path):
    assert refused(tmp_path / "none.toml") == {("config.unreadable", str(tmp_path / "none.toml"))}


def test_a_file_that_is_not_toml_is_told_by_line_and_column(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_text('mode = "test"\nregion = hemlig\n', "utf-8")
    with pytest.raises(Misconfigured) as error:
        load(path, {})
    assert (error.value.first.code, error.value.first.line) == ("config.not-toml", 2)
    assert "hemlig" not in str(error.value) + error.value.first.as_line()


def test_a_file_that_is_not_text_is_told(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(b"mode = \xff")
    assert refused(path) == {("config.not-toml", str(path))}


@given(secret=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=30))
def test_no_fault_ever_holds_the_value(tmp_path_factory, secret):
    secret = f"canary{secret}"
    values = changed(changed(TEST, "destinations/0/url", f"https://u:{secret}@h/"), "peers/0/organisation", secret)
    path = tmp_path_factory.mktemp("settings") / FILE_NAME
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in values.items()), "utf-8")
    with pytest.raises(Misconfigured) as error:
        load(path, {"KOORD_SERVER__PORT": secret, "KOORD_MODE": secret})
    assert secret not in str(error.value) + "".join(
        fault.as_line() + fault.as_line("sv") for fault in error.value.faults
    )


def test_every_code_used_is_in_the_catalogue():
    assert {row[3] for row in REFUSALS} <= set(codes())


# What the files hold


@pytest.fixture
def complete(write, tmp_path):
    authority = Authority.create(tmp_path)
    authority.issue_server("server")
    authority.issue_client("client", "TSTNMT2321000016-A001")
    create_signing_key(tmp_path, "journal")
    for name in ("store.keys", "id.key"):
        (tmp_path / name).write_bytes(b"x" * 32)
        (tmp_path / name).chmod(0o600)
    write_private(tmp_path / "audit.key", new_audit_key())
    return write(TEST | {"audit": {"key_file": "audit.key", "checkpoint_file": "checkpoints.jsonl"}})


def file_faults(path):
    with pytest.raises(Misconfigured) as error:
        check_files(load(path, {}))
    return {(fault.code, fault.where) for fault in error.value.faults}


def test_files_that_are_as_they_should_be_pass(complete):
    check_files(load(complete, {}))


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("store.keys", {"store.key_file"}),
        ("id.key", {"store.id_key_file"}),
        ("audit.key", {"audit.key_file"}),
        ("server.pem", {"server.tls.certificate"}),
        ("server.key", {"server.tls.key"}),
        ("ca.pem", {"server.tls.ca", "destinations[0].tls.ca"}),
        ("client.pem", {"destinations[0].tls.certificate"}),
        ("client.key", {"destinations[0].tls.key"}),
        ("journal.jwks", {"peers[0].jwks"}),
    ],
)
def test_a_missing_file_is_told_by_its_setting(complete, tmp_path, name, places):
    (tmp_path / name).unlink()
    assert file_faults(complete) == {("config.file-missing", place) for place in places}


@pytest.mark.parametrize(
    ("name", "place"),
    [("store.keys", "store.key_file"), ("server.key", "server.tls.key"), ("client.key", "destinations[0].tls.key")],
)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(complete, tmp_path, name, place, mode):
    (tmp_path / name).chmod(mode)
    assert file_faults(complete) == {("config.file-exposed", place)}


@pytest.mark.parametrize("content", [b"", b"x" * 32, "server.key"], ids=["empty", "no PEM", "another kind of key"])
def test_a_key_that_cannot_sign_the_audit_log_is_refused(complete, tmp_path, content):
    (tmp_path / "audit.key").write_bytes(content if isinstance(content, bytes) else (tmp_path / content).read_bytes())
    assert file_faults(complete) == {("config.bad-key", "audit.key_file")}


def test_a_certificate_of_another_key_is_refused(complete, tmp_path):
    (tmp_path / "server.key").write_bytes((tmp_path / "client.key").read_bytes())
    assert file_faults(complete) == {("config.bad-certificate", "server.tls.certificate")}


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_issuers_that_are_no_certificates_are_refused(complete, tmp_path, content):
    (tmp_path / "ca.pem").write_text(content, "utf-8")
    assert file_faults(complete) == {
        ("config.bad-certificate", "server.tls.ca"),
        ("config.bad-certificate", "destinations[0].tls.ca"),
    }


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"keys": []}',
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}',
        '{"keys": [{"kty": "EC", "crv": "P-256", "kid": "1"}]}',
        '{"keys": "all"}',
        '{"keys": [17]}',
    ],
)
def test_a_key_set_that_cannot_verify_is_refused(complete, tmp_path, content):
    (tmp_path / "journal.jwks").write_text(content, "utf-8")
    assert file_faults(complete) == {("config.bad-key", "peers[0].jwks")}


def test_a_private_key_among_the_peers_keys_is_refused(complete, tmp_path):
    private = json.loads((tmp_path / "journal.jwk").read_text("utf-8"))
    (tmp_path / "journal.jwks").write_text(json.dumps({"keys": [private]}), "utf-8")
    assert file_faults(complete) == {("config.bad-key", "peers[0].jwks")}


def test_a_token_key_must_be_private(complete, tmp_path, write):
    public = json.loads((tmp_path / "journal.jwks").read_text("utf-8"))["keys"][0]
    (tmp_path / "token.jwk").write_text(json.dumps(public), "utf-8")
    (tmp_path / "token.jwk").chmod(0o600)
    token = {"key": "token.jwk", "issuer": "region", "audience": "https://fk.example/fhir"}
    assert file_faults(write(changed(TEST, "destinations/0/token", token))) == {
        ("config.bad-key", "destinations[0].token.key")
    }


def test_a_missing_overlay_is_told(complete, write):
    assert file_faults(write({"mode": "test", "overlays": ["codes.toml"], **TEST})) == {
        ("config.file-missing", "overlays[0]")
    }


# A start


def test_what_init_writes_can_be_started_with(tmp_path):
    path = init(tmp_path / "new", secrets={"store.keys": b"k" * 32, "id.key": b"i" * 32, "audit.key": new_audit_key()})
    check_files(load(path, {}))
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_init_replaces_nothing_and_then_writes_nothing(tmp_path):
    (tmp_path / "id.key").write_bytes(b"precious")
    with pytest.raises(Misconfigured) as error:
        init(tmp_path, secrets={"store.keys": b"k", "id.key": b"i"})
    assert [fault.where for fault in error.value.faults] == [str(tmp_path / "id.key")]
    assert [file.name for file in tmp_path.iterdir()] == ["id.key"]


def test_init_tells_when_it_cannot_write(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured) as error:
        init(tmp_path / "file" / "below", secrets={})
    assert error.value.first.code == "config.cannot-write"


def uncommented(text):
    """The template with every commented setting brought to life."""
    lines = []
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        alive = bare != line and (bare.startswith("[") or " = " in bare.split("#")[0])
        lines.append(bare if alive else line)
    return "\n".join(lines)


def test_every_commented_line_of_the_template_is_a_setting():
    text = files("adapter.settings").joinpath(FILE_NAME).read_text("utf-8").replace("http://", "https://")
    values = tomllib.loads(uncommented(text))
    settings = Settings.model_validate(values)
    assert settings.retention == type(settings.retention)()
    assert settings.server.limits == type(settings.server.limits)()
    assert settings.destinations[0].token is not None
    assert settings.overlays


def test_what_is_shown_can_be_read_again_and_holds_no_secret(complete):
    shown = show(load(complete, {}))
    assert Settings.model_validate(shown) == load(complete, {})
    assert "PRIVATE" not in json.dumps(shown)


def test_the_schema_names_every_setting():
    schema = json.dumps(Settings.model_json_schema())
    assert all(name in schema for name in ("allows_protected_identity", "header_timeout_s", "id_key_file", "jwks"))
