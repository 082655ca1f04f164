"""A certificate authority of the tests' own, and what it signs."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    def __init__(self, folder, name="authority"):
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path = folder / f"{name}.pem"
        builder = self._builder(self.name, self.key, -1, 3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject, key, first_day, last_day):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + first_day * DAY).not_valid_after(now + last_day * DAY))

    def sign(self, name, last_day=30, stem=None, first_day=-10, names=()):
        """Writes NAME.pem and NAME.key, valid for this machine; returns their paths and the serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, first_day, last_day)
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, names)])
        certificate = builder.add_extension(names, critical=False).sign(self.key, hashes.SHA256())
        paths = self.folder / f"{stem or name}.pem", self.folder / f"{stem or name}.key"
        drafts = [path.with_suffix(path.suffix + ".draft") for path in paths]
        drafts[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        drafts[1].write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        for draft, path in zip(drafts, paths):
            draft.chmod(0o640)
            draft.replace(path)
        return *paths, certificate.serial_number
