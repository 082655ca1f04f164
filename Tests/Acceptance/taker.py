"""A platform that is pushed to over HTTP or HTTPS: takes, refuses, and remembers."""

import base64
import gzip
import http.server
import json
import socket
import threading

from client import Ledger
from running import PATIENCE, poll


class Taker:
    def __init__(self, house, context=None, token=None, port=0):
        self.token = token
        # By the number of the request from 0: (status, headers), or None for a hang-up; what is not there is 200.
        self.refusals = lambda number: None
        self.requests = []
        self.ledger = Ledger()
        taker = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def setup(self):
                with taker._lock:
                    taker._open += 1
                super().setup()

            def finish(self):
                try:
                    super().finish()
                finally:
                    with taker._lock:
                        taker._open -= 1

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    # Cut off in the midst of it.
                    self.close_connection = True
                    return
                with taker._lock:
                    number = len(taker.requests)
                    taker.requests.append((self.path, dict(self.headers), body))
                    answer = taker._judge(number, self.headers, body)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def finish_request(self, request, client_address):
                if context:
                    try:
                        request = context.wrap_socket(request, server_side=True)
                    except (OSError, ValueError):
                        return
                try:
                    super().finish_request(request, client_address)
                except OSError:
                    pass

        self._lock = threading.Lock()
        self._open = 0
        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        house.at_the_end(self.close)

    def _judge(self, number, headers, body):
        if self.token and headers["Authorization"] != f"Bearer {self.token}":
            return 401, {}
        refusal = self.refusals(number)
        if refusal:
            # "lost": it is taken, and the answer never comes.
            if refusal != "lost":
                return refusal if refusal != "gone" else None
        if headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        if headers["Content-Type"] == "application/json":
            self.ledger.add(json.loads(body))
        return (200, {}) if refusal != "lost" else None

    def lanes(self):
        with self._lock:
            return [headers["Idempotency-Key"].split(".")[2] for _, headers, _ in self.requests]

    def newest(self, lane="telemetry"):
        with self._lock:
            return max(self.ledger.delivered(lane), default=0)

    def rest(self):
        """Once whoever pushed has ended: what came from it is all in the ledger then."""
        poll(lambda: self._open == 0, "every connection is at its end")

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Proxy:
    """An HTTP proxy: CONNECT, and whole addresses without TLS. With `login` («name:password») it asks for that."""

    def __init__(self, house, login=None):
        self.lines = []
        self.login = login and base64.b64encode(login.encode()).decode()
        self.refused = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        house.at_the_end(self._listener.close)

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        head = b""
        while b"\r\n\r\n" not in head:
            data = near.recv(4096)
            if not data:
                return near.close()
            head += data
        line = head.split(b"\r\n", 1)[0].decode()
        self.lines.append(line)
        if self.login and f"\r\nproxy-authorization: basic {self.login}\r\n".lower() not in head.decode().lower():
            self.refused += 1
            near.sendall(
                b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="way"\r\n'
                b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            # The rest of a body is read, or the answer is lost with it.
            near.shutdown(socket.SHUT_WR)
            while near.recv(65536):
                pass
            return near.close()
        # What is for the proxy goes no further (RFC 9110, section 11.7.2).
        kept = [each for each in head.split(b"\r\n") if not each.lower().startswith(b"proxy-authorization:")]
        head = b"\r\n".join(kept)
        method, target, _ = line.split(" ")
        authority = target if method == "CONNECT" else target.split("/")[2]
        # Whatever the name: everything is on this machine.
        far = socket.create_connection(("127.0.0.1", int(authority.rsplit(":", 1)[1])), timeout=PATIENCE)
        if method == "CONNECT":
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far.sendall(head)
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
