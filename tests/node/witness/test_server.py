"""The witness over HTTP: real sockets on loopback, well-behaved and hostile clients."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import httpx
import pytest
import trio

from tslg.node.witness.client import Witnesses
from tslg.node.witness.server import serve
from tslg.node.witness.witness import Witness
from tslg.protocol import cosignature
from tslg.protocol.errors import NetworkError
from tslg.protocol.limits import Limits
from tslg.protocol.note import VerifierKey

LIMITS = Limits(witness_request_ms=400, witness_idle_ms=400, witness_connections_per_address=4)


class Running(NamedTuple):
    port: int
    url: str


@pytest.fixture
def running(witness: Witness) -> Iterator[Running]:
    """A witness that answers on loopback while the test runs."""
    ready, ports, stop = threading.Event(), [], []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            token = trio.lowlevel.current_trio_token()
            stop.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))

            def started(port: int) -> None:
                ports.append(port)
                ready.set()

            await serve(witness, "127.0.0.1", 0, started, LIMITS)

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(10)
    yield Running(ports[0], f"http://127.0.0.1:{ports[0]}")
    stop[0]()
    thread.join()


def policy(keys, which=0):
    return cosignature.policy_of([keys[which].public], 1)


def test_a_client_gets_cosignatures_and_catches_up(running, log, keys):
    urls = {"w.example/w": running.url}
    first, second = Witnesses(urls), Witnesses(urls)
    for client, size in ((first, 3), (second, 9), (first, 12), (first, 12), (second, 64)):
        signed = client.gather(log.signed(size), policy(keys, size % 2), log.proof)
        assert len(cosignature.cosigned(signed, policy(keys, size % 2))) == 1
        assert signed.signatures[0] == log.signed(size).signatures[0]
    first.close()
    second.close()


def test_a_log_that_went_back_is_told_so(running, log, keys):
    client = Witnesses({"w.example/w": running.url})
    client.gather(log.signed(9), policy(keys), log.proof)
    with pytest.raises(NetworkError) as raised:
        client.ask(keys[0].public, log.signed(5), log.proof)
    assert raised.value.code == "TSLG-N-WITNESS-AHEAD" and "9 records" in raised.value.detail


def test_another_history_is_told_so(running, log, another_history, keys):
    client = Witnesses({"w.example/w": running.url})
    client.gather(log.signed(5), policy(keys), log.proof)
    with pytest.raises(NetworkError, match="422"):
        client.ask(keys[0].public, another_history.signed(9), another_history.proof)


def test_too_few_witnesses_are_named_one_by_one(running, log, keys):
    away = [VerifierKey("away.example", 4, keys[0].public.public[::-1])]
    both = cosignature.Policy((keys[0].public, *away), 2)
    client = Witnesses({"w.example/w": running.url, "away.example": "http://127.0.0.1:1"})
    with pytest.raises(NetworkError) as raised:
        client.gather(log.signed(5), both, log.proof)
    assert raised.value.code == "TSLG-N-QUORUM" and "away.example" in raised.value.detail
    assert client.gather(log.signed(5), both._replace(quorum=1), log.proof)


def test_unknown_logs_are_introduced_to_witnesses_that_are_open(running, witness, log, keys, made_genesis):
    other = type(log)(made_genesis[0])
    client = Witnesses({"w.example/w": running.url})
    with pytest.raises(NetworkError, match="404"):
        client.ask(keys[0].public, other.signed(5), other.proof)
    with pytest.raises(NetworkError, match="does not know this log"):
        client.ask(keys[0].public, other.signed(5), other.proof, made_genesis[1])
    witness._open = True
    with pytest.raises(NetworkError, match="403"):
        # Introduced now, by its genesis; but it was not the genesis's key that signed.
        client.ask(keys[0].public, other.signed(5), other.proof, made_genesis[1])


def answer(port: int, data: bytes, *, whole: bool = True) -> bytes:
    """Send bytes and return all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        found = b""
        with suppress(OSError):
            connection.sendall(data)
            if whole:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                found += part
        return found


@pytest.mark.spec("ANC-8")
def test_oversized_bodies_are_refused_before_they_are_held(running):
    head = b"POST /add-checkpoint HTTP/1.1\r\nhost: x\r\n"
    assert answer(running.port, head + b"content-length: 999999999\r\n\r\n", whole=False).startswith(b"HTTP/1.1 413")
    # Without a length the size shows as it comes; what is left unread may reset the connection under the answer.
    chunk = b"%x\r\n" % 60_000 + b"x" * 60_000 + b"\r\n"
    endless = head + b"transfer-encoding: chunked\r\n\r\n" + chunk * 8
    assert not answer(running.port, endless, whole=False).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"G" * 100_000,
        b"POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf",
        b"\x16\x03\x01\x02\x00",
        b"",
    ],
)
def test_what_is_no_request_ends_the_connection_and_nothing_else(running, data, log, keys):
    assert not answer(running.port, data).startswith(b"HTTP/1.1 200")
    assert Witnesses({"w.example/w": running.url}).gather(log.signed(3), policy(keys), log.proof)


@pytest.mark.spec("ANC-8")
@pytest.mark.parametrize(
    "data", [b"POST /add", b"POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nold"]
)
def test_slow_clients_are_cut_off(running, data):
    """A deadline for the whole request: single bytes now and then do not move it."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(data)
        ended = threading.Event()

        def drip() -> None:
            while not ended.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with suppress(OSError):
                while connection.recv(65_536):
                    pass
        finally:
            ended.set()
            thread.join()


@pytest.mark.spec("ANC-8")
def test_no_address_takes_all_connections(running):
    held = [socket.create_connection(("127.0.0.1", running.port), timeout=10) for _ in range(4)]
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as fifth:
        assert fifth.recv(1) == b""
    for connection in held:
        connection.close()


def test_connections_are_kept(running):
    with httpx.Client(base_url=running.url) as client:
        statuses = [client.get("/nothing").status_code, client.post("/add-checkpoint", content=b"x").status_code]
    assert statuses == [404, 400]


class Lying:
    """A server of our own that answers whatever it is told to."""

    def __init__(self, reply: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._reply = reply
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                try:
                    connection.sendall(self._reply)
                except OSError:
                    continue

    def __enter__(self) -> Lying:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def reply(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "data",
    [
        reply("200 OK", b""),
        reply("200 OK", b"nonsense\n"),
        reply("200 OK", "\u2014 w.example/w AAAAAAAAAAAAAAAA\n".encode()),
        reply("200 OK", b"x" * 1_000_000),
        reply("409 Conflict", b"nonsense"),
        reply("409 Conflict", b"2\n"),
        reply("404 Not Found", b""),
        reply("500 No", b"\xff\x00"),
        reply("302 Found", b"")[:-2] + b"location: http://127.0.0.1:1/\r\n\r\n",
        b"nonsense",
        b"",
    ],
    ids=range(11),
)
def test_witnesses_that_lie_give_no_cosignature(data, log, keys):
    with Lying(data) as lying, pytest.raises(NetworkError) as raised:
        Witnesses({"w.example/w": lying.url}).ask(keys[0].public, log.signed(5), log.proof, b"genesis")
    assert raised.value.code == "TSLG-N-WITNESS"


def test_a_cosignature_of_another_checkpoint_is_none(log, keys):
    line = keys[0].cosign(log.signed(6).checkpoint, 1_700_000_000).line
    with Lying(reply("200 OK", line.encode())) as lying, pytest.raises(NetworkError, match="not its cosignature"):
        Witnesses({"w.example/w": lying.url}).ask(keys[0].public, log.signed(5), log.proof)


def test_without_an_address_a_witness_is_asked_at_its_name(log, keys, monkeypatch):
    asked = []

    def refuse(self, request):
        asked.append(str(request.url))
        raise httpx.ConnectError("no", request=request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", refuse)
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *a, **k: None)
    with pytest.raises(NetworkError):
        Witnesses({}).ask(keys[0].public, log.signed(5), log.proof)
    assert asked == ["https://w.example/w/add-checkpoint"]


def test_a_witness_that_drips_is_not_waited_for(log, keys):
    """Header after header, each just in time: the quorum is called off all the same."""
    drip, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve_drops() -> None:
        with suppress(OSError):
            connection, _ = drip.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not ended.wait(0.02):
                    connection.sendall(b"x: y\r\n")

    thread = threading.Thread(target=serve_drops)
    thread.start()
    client = Witnesses({"w.example/w": f"http://127.0.0.1:{drip.getsockname()[1]}"}, Limits(progress_timeout_ms=100))
    try:
        with pytest.raises(NetworkError, match="in time"):
            client.gather(log.signed(3), policy(keys), log.proof)
    finally:
        ended.set()
        drip.close()
        thread.join()
