"""TLS 1.3 to the network, by OpenSSL's client: certificates, their renewal, and who is left outside."""

import contextlib
import http.client
import json
import socket
import ssl

import pytest

from certificates import Authority
from running import PATIENCE, Consumer, free_port, poll, run


class Door:
    """An agent with a TLS listener beside its plain one on loopback."""

    def __init__(self, house, with_clients=False):
        self.authority = Authority(house.folder)
        self.certificate, self.key, self.serial = self.authority.sign("box")
        self.port = free_port()
        lines = f'certificate = "{self.certificate}"\nkey = "{self.key}"\n'
        if with_clients:
            lines += f'client_ca = "{self.authority.path}"\n'
        self.consumer = Consumer("city")
        self.agent = house.agent("", [self.consumer], listen=[f"https://127.0.0.1:{self.port}"], pull=lines)

    def context(self, client=None):
        context = ssl.create_default_context(cafile=str(self.authority.path))
        if client:
            context.load_cert_chain(*map(str, client[:2]))
        return context

    def get(self, path="/healthz", client=None, token=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.context(client))
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def shown(self):
        """The serial number of the certificate that a new connection is shown."""
        from cryptography import x509
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as raw:
            with self.context().wrap_socket(raw, server_hostname="127.0.0.1") as line:
                return x509.load_der_x509_certificate(line.getpeercert(binary_form=True)).serial_number


def test_tls_1_3_and_nothing_older_carries_the_api(house):
    door = Door(house)
    assert door.get()[0] == 200
    assert door.get("/v1/schema", token=door.consumer.token)[0] == 200
    assert door.get("/v1/schema")[0] == 401
    with socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as raw:
        with door.context().wrap_socket(raw, server_hostname="127.0.0.1") as line:
            assert line.version() == "TLSv1.3"
    old = door.context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as raw:
        with pytest.raises(ssl.SSLError):
            old.wrap_socket(raw, server_hostname="127.0.0.1")
    # Plain HTTP to the TLS port gets no answer, and an answer on the plain port beside it.
    with socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 200" not in raw.recv(4096)
    plain = http.client.HTTPConnection("127.0.0.1", door.agent.port, timeout=PATIENCE)
    plain.request("GET", "/healthz")
    assert plain.getresponse().status == 200
    assert door.agent.status()["pull"]["certificate_expires"] > 0
    poll(lambda: "reason=handshake" in door.agent.log, "the refusal is told")


def test_many_requests_on_one_connection_and_a_large_answer(house):
    door = Door(house)
    connection = http.client.HTTPSConnection("127.0.0.1", door.port, timeout=PATIENCE, context=door.context())
    for _ in range(200):
        connection.request("GET", "/v1/points", headers={"Authorization": f"Bearer {door.consumer.token}"})
        assert json.loads(connection.getresponse().read())["points"] == []


def test_with_a_ca_nobody_comes_in_without_a_certificate_of_it(house):
    door = Door(house, with_clients=True)
    friend = door.authority.sign("friend")
    (house.folder / "elsewhere").mkdir()
    stranger = Authority(house.folder / "elsewhere", "elsewhere").sign("stranger")
    assert door.get(client=friend)[0] == 200
    for nobody in (None, stranger):
        # The client learns of it with the first answer that does not come (RFC 8446, 4.4.2.4).
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            door.get(client=nobody)
    assert door.get(client=friend)[0] == 200


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_wrong_one_is_not(house):
    door = Door(house)
    assert door.shown() == door.serial
    open_line = http.client.HTTPSConnection("127.0.0.1", door.port, timeout=PATIENCE, context=door.context())

    def is_open():
        """The connection of the beginning carries a request; one that says nothing for long is closed."""
        open_line.request("GET", "/healthz")
        answer = open_line.getresponse()
        answer.read()
        return answer.status == 200

    assert is_open()
    open_line.auto_open = False

    good = door.certificate.read_bytes()
    door.certificate.write_text("torn")
    refused = "the changed certificate files are refused"
    poll(lambda: is_open() and refused in door.agent.log, "the torn file is refused", every=0.2)
    assert door.shown() == door.serial
    door.certificate.write_bytes(good)

    _, _, renewed = door.authority.sign("box")
    poll(lambda: is_open() and door.shown() == renewed, "the renewed certificate is shown", every=0.5)
    # The open connection was not touched.
    assert is_open()

    door.authority.sign("box", last_day=-1)
    reloaded = door.agent.command("reload")
    assert reloaded.returncode == 78 and "expired on" in reloaded.stderr, "the expired certificate is refused"
    assert door.shown() == renewed
    checked = run("check", *door.agent.files)
    assert checked.returncode == 78 and "pull.certificate" in checked.stdout and "expired on" in checked.stdout
    # A power cut after its last day does not end the reading of the buses.
    door.agent.stop()
    door.agent.start()
    poll(lambda: "the certificate has expired" in door.agent.log, "it is told")


def test_a_wrong_file_is_named_at_check_and_at_start(house):
    authority = Authority(house.folder)
    certificate, key, _ = authority.sign("box")
    _, other, _ = authority.sign("other")
    agent = house.agent(
        "", start=False, listen=["0.0.0.0:8443"], pull=f'certificate = "{certificate}"\nkey = "{other}"\n')
    for command in ("check", "run"):
        result = run(command, *agent.files)
        assert result.returncode == 78, result
        assert "pull.key" in result.stdout + result.stderr and "is not the key" in result.stdout + result.stderr
