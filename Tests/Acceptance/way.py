"""A way between the box and a platform that a test can shut, narrow and lead elsewhere: a relay of TCP on loopback."""

import socket
import threading
import time

from running import PATIENCE


class Way:
    def __init__(self, house, target, bytes_per_second=None):
        """`target`: a port of loopback."""
        self.target = target
        self.bytes_per_second = bytes_per_second
        self.is_shut = False
        # Connections are taken, and nothing goes through: a half-open peer.
        self.is_dead = False
        # The other side gets everything, and nobody hears that from it.
        self.keeps_answers = False
        self.connections = 0
        self.carried = 0
        # Bytes of answers that were kept.
        self.kept = 0
        self._open = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        house.at_the_end(self.close)

    def shut(self):
        """Whoever comes is turned away, and who is there is thrown out."""
        self.is_shut = True
        self._drop()

    def open(self):
        self.is_shut = False

    def close(self):
        self.is_shut = True
        self._listener.close()
        self._drop()

    def _drop(self):
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                if self.is_shut:
                    raise ConnectionError
                far = socket.create_connection(("127.0.0.1", self.target), timeout=PATIENCE)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            if self.bytes_per_second:
                # So that what was written is on its way, and not in a buffer.
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with self._lock:
                self._open |= {near, far}
            threading.Thread(target=self._carry, args=(near, far, self.bytes_per_second), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, None, True), daemon=True).start()

    def _carry(self, one, other, rate, is_answer=False):
        try:
            while data := one.recv(max(64, rate // 10) if rate else 65536):
                if is_answer and self.keeps_answers:
                    self.kept += len(data)
                    continue
                if self.is_dead:
                    continue
                if rate:
                    time.sleep(len(data) / rate)
                other.sendall(data)
                self.carried += len(data)
        except OSError:
            pass
        finally:
            for end in (one, other):
                with self._lock:
                    self._open.discard(end)
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()


class Socks:
    """A SOCKS5 proxy (RFC 1928), with `login` («name:password») one that asks (RFC 1929); every name is this machine."""

    def __init__(self, house, login=None):
        self.asked = []
        self.login = login
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
        stream = near.makefile("rb", buffering=0)
        _, count = stream.read(2)
        offers = stream.read(count)
        if self.login and not self._knows(near, stream, offers):
            self.refused += 1
            return near.close()
        if not self.login:
            near.sendall(b"\x05\x00")
        kind = stream.read(4)[3]
        name = socket.inet_ntoa(stream.read(4)) if kind == 1 else stream.read(stream.read(1)[0]).decode()
        port = int.from_bytes(stream.read(2), "big")
        self.asked.append(f"{name}:{port}")
        far = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        far.settimeout(None)
        near.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _knows(self, near, stream, offers):
        if 2 not in offers:
            near.sendall(b"\x05\xff")
            return False
        near.sendall(b"\x05\x02")
        stream.read(1)
        name = stream.read(stream.read(1)[0]).decode()
        password = stream.read(stream.read(1)[0]).decode()
        is_right = f"{name}:{password}" == self.login
        near.sendall(b"\x01\x00" if is_right else b"\x01\x01")
        return is_right

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
