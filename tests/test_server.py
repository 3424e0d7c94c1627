import asyncio
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop

from adapter.certs import Authority
from adapter.errors import Misconfigured
from adapter.settings import Limits, Server, ServerTls
from adapter.transport.server import running

pytestmark = pytest.mark.processes

HSA_ID = "TSTNMT2321000016-A001"
QUICK = Limits(
    body_bytes=1_000_000,
    header_bytes=4_000,
    header_count=20,
    header_timeout_s=0.3,
    body_timeout_s=0.5,
    stop_timeout_s=2,
)
HEAD = b"POST /fhir HTTP/1.1\r\nHost: localhost\r\n"


async def echo(scope, receive, send):
    """Answers with what it saw: path, size of the body, serial number in the certificate."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    if scope["path"] == "/broken":
        raise ValueError("191212121212 stood here")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    seen = {"path": scope["path"], "bytes": len(body), "certificate": bool(scope["extensions"].get("tls"))}
    answer = b"x" * 20_000_000 if scope["path"] == "/large" else json.dumps(seen).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(answer)).encode())]}
    )
    await send({"type": "http.response.body", "body": answer})


def plain(**limits):
    return Server(port=0, base_url="http://127.0.0.1:1", authentication="none", limits=QUICK.model_copy(update=limits))


def run(coroutine):
    """On the event loop that the server has in production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def serve(test, server=None):
    """Runs a test against the server that all tests share, or against one of its own."""

    async def main():
        async with running(echo, server) as url:
            return await test(int(url.rpartition(":")[2]))

    return run(test(SHARED["port"]) if server is None else main())


SHARED = {}


@pytest.fixture(scope="module", autouse=True)
def shared_server():
    ready, stop = threading.Event(), threading.Event()

    async def main():
        async with running(echo, plain()) as url:
            SHARED["port"] = int(url.rpartition(":")[2])
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=run, args=(main(),))
    thread.start()
    ready.wait(10)
    yield
    stop.set()
    thread.join()


async def exchange(port, *pieces, pause=0.0, tls=None):
    """Sends the pieces while it reads to the end; what came back."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
    )
    answer = bytearray()

    async def listen():
        while piece := await reader.read(65_536):
            answer.extend(piece)

    listening = asyncio.create_task(listen())
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
            if listening.done():
                break
        await asyncio.wait_for(listening, 5)
    except ConnectionError:
        listening.cancel()
    finally:
        writer.close()
    return bytes(answer)


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer else 0


def code(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])["issue"][0]["details"]["coding"][0]["code"]


def test_a_good_request_is_answered():
    answer = serve(lambda port: exchange(port, HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc"))
    assert status(answer) == 200
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"path": "/fhir", "bytes": 3, "certificate": False}


def test_a_chunked_body_is_read():
    body = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert b'"bytes": 5' in serve(lambda port: exchange(port, HEAD + body))


def test_a_connection_serves_one_request_after_another():
    async def two(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(HEAD + b"Content-Length: 3\r\n\r\nabc")
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
            await asyncio.sleep(0.4)  # longer than a header may take: no deadline runs while nothing is asked
        writer.close()

    serve(two)


MALFORMED = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same Host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "a list of Hosts": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "length and chunked": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "a negative length": HEAD + b"Content-Length: -3\r\n\r\nabc",
    "a signed length": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "a hexadecimal length": HEAD + b"Content-Length: 0x3\r\n\r\nabc",
    "a huge length": HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a list of codings": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding with a tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 3\r\n\r\nabc",
    "a folded header": HEAD + b"X: a\r\n b\r\n\r\n",
    "a header without a name": HEAD + b": a\r\n\r\n",
    "a control character": HEAD + b"X: a\x00b\r\n\r\n",
    "a bare CR": HEAD + b"X: a\rContent-Length: 3\r\n\r\nabc",
    "a bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "version 2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "version 0.9": b"GET /\r\n\r\n",
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown method": b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute target": b"GET http://other/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT other:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "a raw target": "GET /å HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "a chunk size that is none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a chunk size too large": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "noise": bytes(range(128, 256)) + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
def test_what_two_readers_could_take_apart_differently_is_refused(request_):
    answer = serve(lambda port: exchange(port, request_))
    assert (status(answer), code(answer)) == (400, "SEND_server.malformed")
    assert answer.endswith(b"}]}")


def test_a_second_request_before_the_answer_gets_none():
    smuggled = HEAD + b"Content-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    assert b"smuggled" not in serve(lambda port: exchange(port, smuggled))


def test_no_upgrade_is_made():
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = serve(lambda port: exchange(port, upgrade))
    assert status(answer) == 200
    assert b"connection: close" in answer
    assert b"smuggled" not in answer


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd", b"identity, gzip"])
def test_a_compressed_body_is_refused(encoding):
    answer = serve(
        lambda port: exchange(port, HEAD + b"Content-Encoding: " + encoding + b"\r\nContent-Length: 3\r\n\r\nabc")
    )
    assert (status(answer), code(answer)) == (415, "SEND_server.encoded")


LARGE_HEADS = {
    "a long path": b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long header": HEAD + b"X: " + b"a" * 5_000 + b"\r\n\r\n",
    "a long header that never ends": HEAD + b"X: " + b"a" * 50_000,
    "a path that never ends": b"GET /" + b"a" * 50_000,
    "a name that never ends": HEAD + b"a" * 50_000,
    "many headers": HEAD + b"X: a\r\n" * 21 + b"\r\n",
}


@pytest.mark.parametrize("head", LARGE_HEADS.values(), ids=LARGE_HEADS)
def test_a_large_head_is_refused(head):
    answer = serve(lambda port: exchange(port, head))
    assert (status(answer), code(answer)) == (431, "SEND_server.headers-too-large")


def test_a_large_body_is_refused_as_soon_as_it_is_announced():
    answer = serve(lambda port: exchange(port, HEAD + b"Expect: 100-continue\r\nContent-Length: 1000001\r\n\r\n"))
    assert (status(answer), code(answer)) == (413, "SEND_server.too-large")


def test_a_large_body_that_was_not_announced_is_refused():
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    answer = serve(lambda port: exchange(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 17))
    assert (status(answer), code(answer)) == (413, "SEND_server.too-large")


def drip(data):
    return [data[place : place + 1] for place in range(len(data))]


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD],
        drip(HEAD),
        [HEAD + b"Content-Length: 30\r\n\r\nabc"],
        [HEAD + b"Content-Length: 30\r\n\r\n", *drip(b"a" * 30)],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *drip(b"1\r\na\r\n" * 8)],
    ],
    ids=["half a head", "a dripping head", "half a body", "a dripping body", "dripping chunks"],
)
def test_who_is_slow_is_sent_away(pieces):
    answer = serve(lambda port: exchange(port, *pieces, pause=0.05))
    assert (status(answer), code(answer)) == (408, "SEND_server.too-slow")


@pytest.mark.parametrize("start", [b"", b"\r\n", b"\r\n\r\n"])
def test_who_says_nothing_is_sent_away(start):
    assert status(serve(lambda port: exchange(port, start))) in {0, 408}


def test_who_goes_on_with_blank_lines_after_an_answer_is_sent_away():
    async def stay(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        await reader.readuntil(b"}")
        for _ in range(10):
            writer.write(b"\r\n")
            await asyncio.sleep(0.05)
        await asyncio.wait_for(reader.read(), 2)
        writer.close()

    serve(stay)


def test_who_does_not_read_the_answer_is_sent_away():
    async def deaf(port):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(1.2)
        received = 0
        try:
            while piece := await asyncio.to_thread(connection.recv, 1_000_000):
                received += len(piece)
        except ConnectionError:
            pass
        connection.close()
        return received

    assert serve(deaf) < 20_000_000


def test_good_callers_are_served_while_others_hold_the_line():
    async def both(port):
        held = [asyncio.create_task(exchange(port, *drip(HEAD), pause=0.05)) for _ in range(100)]
        await asyncio.sleep(0.1)
        answers = [await exchange(port, HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n") for _ in range(20)]
        await asyncio.gather(*held)
        return answers

    assert {status(answer) for answer in serve(both)} == {200}


def test_more_connections_than_allowed_are_closed():
    async def crowd(port):
        first = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await asyncio.sleep(0.05)
        answer = await exchange(port, HEAD + b"Content-Length: 0\r\n\r\n")
        for _, writer in first:
            writer.close()
        return answer

    assert serve(crowd, plain(connections=3)) == b""


def test_what_the_application_failed_at_is_told_to_nobody(caplog, capsys):
    answer = serve(
        lambda port: exchange(
            port, b"POST /broken HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
    )
    assert (status(answer), code(answer)) == (500, "ADP_server.internal")
    told = answer.decode() + caplog.text + "".join(capsys.readouterr())
    assert "191212121212" not in told
    assert "ValueError at test_server.py" in caplog.text


def test_an_address_that_is_taken_is_told():
    async def again(port):
        async with running(echo, plain().model_copy(update={"port": port})):
            pytest.fail("two servers at one address")

    with pytest.raises(Misconfigured) as error:
        serve(again)
    assert error.value.first.code == "server.address-taken"


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def own(authority):
    return authority.issue_server("server")


@pytest.fixture(scope="module")
def client(authority):
    return authority.issue_client("client", HSA_ID)


def secure(own, authority, authentication="mtls"):
    tls = ServerTls(certificate=own.certificate, key=own.key, ca=authority.certificate)
    return Server(port=0, base_url="https://127.0.0.1:1", authentication=authentication, tls=tls, limits=QUICK)


def client_context(authority, credential=None, *, highest=None):
    context = ssl.create_default_context(cafile=authority.certificate)
    if credential is not None:
        context.load_cert_chain(credential.certificate, credential.key)
    if highest is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = highest
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def over_tls(server, context):
    request_ = HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    try:
        return serve(lambda port: exchange(port, request_, tls=context), server)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_a_client_with_its_certificate_is_let_in_and_named(own, authority, client):
    assert b'"certificate": true' in over_tls(secure(own, authority), client_context(authority, client))


def test_a_client_without_a_certificate_is_let_in_only_where_a_token_may_do(own, authority):
    assert over_tls(secure(own, authority), client_context(authority)) == b""
    assert b'"certificate": false' in over_tls(secure(own, authority, "either"), client_context(authority))
    assert b'"certificate": false' in over_tls(secure(own, authority, "token"), client_context(authority))


def test_a_certificate_of_another_issuer_is_refused(own, authority, tmp_path):
    stranger = Authority.create(tmp_path).issue_client("stranger", HSA_ID)
    for authentication in ("mtls", "either"):
        assert over_tls(secure(own, authority, authentication), client_context(authority, stranger)) == b""


def test_a_certificate_that_has_ended_or_not_begun_is_refused(own, authority):
    now = datetime.now(UTC)
    ended = authority.issue_client("ended", HSA_ID, now=now - timedelta(days=9))
    coming = authority.issue_client("coming", HSA_ID, now=now + timedelta(days=1))
    for credential in (ended, coming):
        assert over_tls(secure(own, authority), client_context(authority, credential)) == b""


def test_a_servers_certificate_does_not_make_a_client(own, authority):
    assert over_tls(secure(own, authority), client_context(authority, own)) == b""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_tls_1_2_and_later_are_spoken(own, authority, client, version, spoken):
    answer = over_tls(secure(own, authority), client_context(authority, client, highest=version))
    assert bool(answer) is spoken


def test_who_does_not_finish_the_handshake_is_sent_away(own, authority):
    assert serve(lambda port: exchange(port, b"\x16\x03\x01"), secure(own, authority)) == b""


def test_plain_http_on_the_tls_port_gets_nothing(own, authority):
    assert serve(lambda port: exchange(port, HEAD + b"\r\n"), secure(own, authority)) == b""


def test_a_certificate_that_does_not_fit_its_key_stops_the_start(own, authority, client):
    tls = ServerTls(certificate=own.certificate, key=client.key, ca=authority.certificate)
    server = secure(own, authority).model_copy(update={"tls": tls})

    async def main():
        async with running(echo, server):
            pytest.fail("started")

    with pytest.raises(Misconfigured) as error:
        run(main())
    assert error.value.first.code == "config.bad-certificate"


# As a process of its own

PROGRAM = """
from adapter.settings import Server
from adapter.transport.server import run
from tests.test_server import echo
run(echo, Server(port=0, base_url="http://127.0.0.1:1", authentication="none"))
print("stopped in good order")
"""


@asynccontextmanager
async def process():
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path.cwd()
    )
    try:
        url = json.loads(await asyncio.wait_for(started.stdout.readline(), 20))["ready"]
        yield started, int(url.rpartition(":")[2])
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_what_is_under_way_finish(stop):
    async def main():
        async with process() as (started, port):
            slow = asyncio.create_task(exchange(port, b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"))
            await asyncio.sleep(0.2)
            started.send_signal(stop)
            answer = await slow
            rest, errors = await asyncio.wait_for(started.communicate(), 10)
            return status(answer), rest, errors, started.returncode

    assert run(main()) == (200, b"stopped in good order\n", b"", 0)
