import json
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey, KeySet, RSAKey

from adapter.certs import Authority, create_signing_key, peer_identity, signing_key
from adapter.errors import Denied

HSA_ID = "TSTNMT2321000016-A001"


def der(path):
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("pki"))


def test_a_client_certificate_names_its_holder_by_hsa_id(authority):
    assert peer_identity(der(authority.issue_client("region", HSA_ID).certificate)) == HSA_ID


def test_a_server_certificate_names_nobody(authority):
    with pytest.raises(Denied) as refused:
        peer_identity(der(authority.issue_server("nobody").certificate))
    assert refused.value.first.code == "auth.refused"


def test_two_serial_numbers_in_a_subject_name_nobody(authority):
    certificate = x509.load_pem_x509_certificate(authority.issue_client("once", HSA_ID).certificate.read_bytes())
    twice = x509.Name([*certificate.subject, x509.NameAttribute(NameOID.SERIAL_NUMBER, "TSTNMT2321000016-B002")])
    builder = x509.CertificateBuilder(
        subject_name=twice,
        issuer_name=certificate.issuer,
        public_key=certificate.public_key(),
        serial_number=7,
        not_valid_before=certificate.not_valid_before_utc,
        not_valid_after=certificate.not_valid_after_utc,
    )
    with pytest.raises(Denied):
        peer_identity(builder.sign(authority._key, certificate.signature_hash_algorithm).public_bytes(Encoding.DER))


@pytest.mark.parametrize("junk", [b"", b"\x30\x03\x02\x01\x00", b"not a certificate" * 100])
def test_junk_is_nobody(junk):
    with pytest.raises(Denied):
        peer_identity(junk)


def test_a_certificate_with_bytes_after_its_end_is_nobody(authority):
    with pytest.raises(Denied):
        peer_identity(der(authority.issue_client("tail", HSA_ID).certificate) + b"\x00")


def test_only_the_owner_can_read_what_is_made(authority):
    credential = authority.issue_client("private", HSA_ID)
    signing = create_signing_key(authority.folder, "private-token")
    for path in (authority.certificate, credential.certificate, credential.key, signing.private, signing.public_set):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_replaced_in_silence(authority):
    authority.issue_client("kept", HSA_ID)
    with pytest.raises(FileExistsError):
        authority.issue_client("kept", HSA_ID)
    with pytest.raises(FileExistsError):
        Authority.create(authority.folder)


def test_a_loaded_authority_issues_under_the_same_root(authority):
    again = Authority.load(authority.folder)
    issued = x509.load_pem_x509_certificate(again.issue_client("later", HSA_ID).certificate.read_bytes())
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate.read_bytes()))


def test_certificates_live_for_days(authority):
    issued = x509.load_pem_x509_certificate(authority.issue_server("short").certificate.read_bytes())
    assert issued.not_valid_after_utc < datetime.now(UTC) + timedelta(days=8)


def test_the_public_key_set_holds_no_private_half(tmp_path):
    signing = create_signing_key(tmp_path, "token")
    public = json.loads(signing.public_set.read_text("utf-8"))
    assert [set(key) & {"d", "k", "p", "q"} for key in public["keys"]] == [set()]
    assert KeySet.import_key_set(public).keys[0].kid == json.loads(signing.private.read_text("utf-8"))["kid"]


def test_two_signing_keys_never_share_an_id(tmp_path):
    first, second = create_signing_key(tmp_path, "one"), create_signing_key(tmp_path, "two")
    assert json.loads(first.private.read_text("utf-8"))["kid"] != json.loads(second.private.read_text("utf-8"))["kid"]


def test_an_authority_with_another_kind_of_key_is_not_loaded(authority, tmp_path):
    rsa_key = rsa.generate_private_key(65537, 2048)
    pem = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ca.key").write_bytes(pem)
    (tmp_path / "ca.pem").write_bytes(authority.certificate.read_bytes())
    with pytest.raises(ValueError):
        Authority.load(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"kty": "oct", "k": "c2VjcmV0c2VjcmV0", "kid": "1"}', '{"kty": "EC"}']
)
def test_what_is_no_signing_key_is_not_taken_for_one(tmp_path, content):
    (tmp_path / "key.jwk").write_text(content, "utf-8")
    with pytest.raises(ValueError):
        signing_key(tmp_path / "key.jwk")


@pytest.mark.filterwarnings("ignore:Key size")
def test_weak_keys_and_keys_without_a_name_do_not_sign(tmp_path):
    weak = [
        ECKey.generate_key("P-256", {"kid": "1"}),
        RSAKey.generate_key(1024, {"kid": "1"}),
        ECKey.generate_key("P-384"),
    ]
    for key in weak:
        (tmp_path / "key.jwk").write_text(json.dumps(key.as_dict(private=True)), "utf-8")
        with pytest.raises(ValueError):
            signing_key(tmp_path / "key.jwk")
