"""What only a real connection has: credentials, names, certificates, limits."""

import asyncio
import gzip
import json as plain_json
import re
import socket
from datetime import UTC, datetime, timedelta

import pytest

from adapter.certs import create_signing_key
from adapter.errors import Misconfigured
from adapter.transport.login import Login
from adapter.transport.receipt import Receipt
from adapter.transport.rest import Rest
from tests.peers import Peer, cleared, destination, http, make_pki, outcome, region, response, server_tls

pytestmark = pytest.mark.processes

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    authority = make_pki(folder)
    now = datetime.now(UTC)
    authority.issue_server("ended", now=now - timedelta(days=9))
    authority.issue_server("coming", now=now + timedelta(days=1))
    authority.issue_server("elsewhere", hosts=("other.example", "10.0.0.1"))
    authority.issue_client("ended-client", "TSTNMT2321000016-A001", now=now - timedelta(days=9))
    create_signing_key(folder, "token")
    return folder


def using(folder, test, *, look_up=None, shows=None, **changes):
    async def main():
        peer = Peer(folder)
        await peer.start(shows)
        settings = region(destinations=[destination(peer.port, folder, **changes)])
        async with Rest(settings, clock=lambda: NOW, **({"look_up": look_up} if look_up else {})) as rest:
            result = await test(peer, rest)
        await peer.stop()
        return result

    return asyncio.run(main())


def headers(head):
    return dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if line)


def test_a_message_says_who_it_is_and_what_it_wants(folder):
    async def test(peer, rest):
        await rest.send(cleared(content_type="application/fhir+json; fhirVersion=4.0"))
        await rest.send(cleared())
        return peer.heads

    first, second = using(folder, test)
    assert first.startswith("POST /fhir HTTP/1.1\r\n")
    seen = headers(first)
    assert seen["content-type"] == "application/fhir+json; fhirversion=4.0"
    assert seen["accept"] == seen["content-type"], "the answer in the same form and release"
    assert (seen["x-request-id"], seen["x-correlation-id"]) == ("r-1", "case-1")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", seen["traceparent"])
    assert seen["traceparent"][:35] == headers(second)["traceparent"][:35]
    assert seen["accept-encoding"] == "identity"
    assert seen["prefer"] == "return=minimal"
    assert seen["user-agent"] == "koord"
    assert "cookie" not in seen
    assert "authorization" not in seen


def test_one_connection_serves_many_messages(folder):
    async def test(peer, rest):
        for number in range(5):
            await rest.send(cleared(request_id=f"r-{number}"))
        return peer.connections

    assert using(folder, test) == 1


def test_no_more_messages_are_under_way_than_allowed(folder):
    under_way, most = 0, 0

    async def slow(headers_, body, writer):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.05)
        under_way -= 1
        writer.write(http(200, headers_, response("200")))
        return True

    async def test(peer, rest):
        peer.expect(*[slow] * 12)
        return await asyncio.gather(*(rest.send(cleared(request_id=f"r-{number}")) for number in range(12)))

    receipts = using(folder, test, max_inflight=3, send_timeout_s=5)
    assert {receipt.outcome for receipt in receipts} == {"delivered"}
    assert most == 3


def test_the_environment_has_no_say(folder, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "stranger" / "ca.pem"))
    assert using(folder, lambda peer, rest: rest.send(cleared())).outcome == "delivered"


def test_no_cookie_is_kept(folder):
    async def baking(headers_, body, writer):
        writer.write(http(200, headers_, response("200"), "set-cookie: id=1; Path=/\r\n"))
        return True

    async def test(peer, rest):
        peer.expect(baking)
        await rest.send(cleared())
        await rest.send(cleared())
        return headers(peer.heads[1])

    assert "cookie" not in using(folder, test)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(folder, status):
    async def test(peer, rest):
        other = Peer(folder)
        await other.start()

        async def away(headers_, body, writer):
            location = f"location: https://localhost:{other.port}/fhir\r\n"
            writer.write(http(status, headers_, response("200"), location))
            return True

        peer.expect(away)
        receipt = await rest.send(cleared())
        await other.stop()
        return receipt.reason, other.connections

    assert using(folder, test) == ("peer.redirect", 0)


def test_a_compressed_answer_is_not_unpacked(folder):
    async def bomb(headers_, body, writer):
        packed = gzip.compress(b" " * 50_000_000)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\nx-request-id: r-1\r\n\r\n"
        writer.write(head.encode() + packed)
        return True

    async def test(peer, rest):
        peer.expect(bomb)
        return await rest.send(cleared())

    assert using(folder, test, send_timeout_s=5).reason == "peer.garbage"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
def test_an_answer_that_is_hardly_http_is_a_reason_to_try_again(folder, answer):
    async def strange(headers_, body, writer):
        writer.write(answer)
        await writer.drain()
        return False

    async def test(peer, rest):
        peer.expect(strange)
        return await rest.send(cleared()), await rest.send(cleared())

    first, second = using(folder, test)
    assert first.outcome == "retry"
    assert first.exposed
    assert second.outcome == "delivered"


def test_a_peer_that_never_stops_the_head_is_left(folder):
    async def endless(headers_, body, writer):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def test(peer, rest):
        peer.expect(endless)
        return await rest.send(cleared())

    assert using(folder, test).reason == "peer.timeout"


# Certificates


@pytest.mark.parametrize("name", ["ended", "coming", "elsewhere", "stranger/server"])
def test_a_peer_with_a_certificate_that_does_not_hold_gets_nothing(folder, name):
    async def test(peer, rest):
        return await rest.send(cleared()), peer.held

    receipt, held = using(folder, test, shows=server_tls(folder, name))
    assert receipt == Receipt("retry", "peer.certificate", exposed=False)
    assert held == {}


@pytest.mark.parametrize("name", ["ended-client", "stranger/client"])
def test_a_peer_that_does_not_accept_our_certificate_gets_another_try(folder, name):
    tls = {"ca": folder / "ca.pem", "certificate": folder / f"{name}.pem", "key": folder / f"{name}.key"}
    receipt = using(folder, lambda peer, rest: rest.send(cleared()), tls=tls)
    # TLS 1.3 tells a client too late; if the alert is overtaken by a reset, no more can be known
    assert (receipt.outcome, receipt.reason in {"peer.certificate", "peer.connection-lost"}) == ("retry", True)


def test_certificates_that_cannot_be_used_stop_the_start(folder):
    tls = {"ca": folder / "ca.pem", "certificate": folder / "client.pem", "key": folder / "server.key"}
    with pytest.raises(Misconfigured) as error:
        Rest(region(destinations=[destination(1, folder, tls=tls)]))
    assert error.value.first.code == "config.bad-certificate"


# Tokens


class Seen:
    def __init__(self):
        self.tokens = set()

    async def __call__(self, issuer, jti, /, *, expires, now):
        first = jti not in self.tokens
        self.tokens.add(jti)
        return first


def with_token(folder):
    return {"token": {"key": folder / "token.jwk", "issuer": "region", "audience": "https://fk.example/fhir"}}


def test_each_message_carries_a_new_token_that_our_own_door_lets_in(folder):
    server = {
        "base_url": "https://fk.example/fhir",
        "authentication": "token",
        "tls": {"certificate": "server.pem", "key": "server.key"},
    }
    peers = [
        {
            "id": "region",
            "role": "care-provider",
            "organisation": "TSTNMT2321000016-A000",
            "jwks": folder / "token.jwks",
        }
    ]
    door = Login(region(server=server, peers=peers), Seen())

    async def test(peer, rest):
        for number in range(3):
            await rest.send(cleared(request_id=f"r-{number}"))
        tokens = [re.search(r"(?i)authorization: (.*)\r", head)[1].encode() for head in peer.heads]
        for token in tokens:
            caller = await door.caller({"headers": [(b"authorization", token)]}, now=NOW)
            assert caller.peer == "region"
        return len(set(tokens))

    assert using(folder, test, **with_token(folder)) == 3


def test_a_token_key_that_cannot_be_used_stops_the_start(folder):
    token = {"key": folder / "token.jwks", "issuer": "region", "audience": "https://fk.example/fhir"}
    with pytest.raises(Misconfigured) as error:
        Rest(region(destinations=[destination(1, folder, token=token)]))
    assert (error.value.first.code, error.value.first.where) == ("config.bad-key", "destinations[0].token.key")


@pytest.mark.parametrize(("refusals", "outcome_", "sent"), [(1, "delivered", 2), (2, "refused", 2)])
def test_a_refused_token_is_renewed_once(folder, refusals, outcome_, sent):
    async def test(peer, rest):
        peer.expect(*["login"] * refusals)
        receipt = await rest.send(cleared())
        return receipt.outcome, len(peer.heads)

    assert using(folder, test, **with_token(folder)) == (outcome_, sent)


def test_without_a_token_a_refused_login_is_final(folder):
    async def test(peer, rest):
        peer.expect("login")
        return (await rest.send(cleared())).reason, len(peer.heads)

    assert using(folder, test) == ("peer.login", 1)


# Names and addresses


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"],
        ["10.0.0.1"],
        ["192.168.0.1"],
        ["1.1.1.1"],
        ["0.0.0.0"],
        ["::"],
        ["fe80::1"],
        ["64:ff9b::7f00:1"],
        ["127.0.0.1", "10.0.0.1"],
        ["::ffff:169.254.169.254"],
    ],
)
def test_a_name_that_leads_elsewhere_is_not_followed(folder, addresses):
    async def names(host, port):
        return addresses

    async def test(peer, rest):
        return await rest.send(cleared()), peer.connections

    receipt, connections = using(folder, test, look_up=names)
    assert receipt == Receipt("retry", "peer.address-refused", exposed=False)
    assert connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "169.254.169.254",
        "127.0.0.1.",
    ],
)
def test_an_address_written_into_the_url_must_be_of_the_network_it_says(folder, host):
    with pytest.raises(Misconfigured) as error:
        Rest(region(destinations=[destination(1, folder, url=f"https://{host}:8443/fhir", network="public")]))
    assert error.value.first.where == "destinations[0].url"


def test_a_name_is_looked_up_once_while_it_answers_and_anew_when_it_does_not(folder):
    asked = 0

    async def names(host, port):
        nonlocal asked
        asked += 1
        return ["127.0.0.1"]

    async def test(peer, rest):
        for situation in ("cut", "cut", ""):
            async with peer.while_(situation):
                await rest.send(cleared())
        assert (asked, peer.connections) == (1, 3)
        async with peer.while_("unreachable"):
            assert (await rest.send(cleared())).reason == "peer.unreachable"
        return (await rest.send(cleared())).outcome, asked

    assert using(folder, test, look_up=names) == ("delivered", 2)


def test_a_name_that_nobody_knows_is_unreachable(folder):
    async def names(host, port):
        raise OSError("no such name")

    receipt = using(folder, lambda peer, rest: rest.send(cleared()), look_up=names)
    assert receipt == Receipt("retry", "peer.unreachable", exposed=False)


def test_an_address_where_nobody_answers_is_given_up(folder, monkeypatch):
    monkeypatch.setattr("adapter.transport.rest.CONNECT_TIMEOUT_S", 0.2)

    async def main(port):
        async with Rest(region(destinations=[destination(port, folder)])) as rest:
            return await rest.send(cleared())

    with socket.create_server(("127.0.0.1", 0)) as silent:
        receipt = asyncio.run(main(silent.getsockname()[1]))
    assert receipt == Receipt("retry", "peer.unreachable", exposed=False)


# What is told


def test_no_receipt_or_log_holds_what_was_sent_or_answered(folder, caplog):
    caplog.set_level("DEBUG", logger="httpx")
    caplog.set_level("DEBUG", logger="adapter")
    body = plain_json.dumps({"resourceType": "Bundle", "note": "191212121212"}).encode()

    async def telling(headers_, body_, writer):
        writer.write(http(422, headers_, outcome("invalid") | {"text": {"status": "generated", "div": "191212121212"}}))
        return True

    async def test(peer, rest):
        peer.expect(telling, "garbage", "reset", "hang")
        return [await rest.send(cleared(body)) for _ in range(5)]

    receipts = using(folder, test)
    assert "191212121212" not in repr(receipts) + caplog.text
