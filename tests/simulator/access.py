"""Authentication: bearer tokens (firmware 7 and later), digest authentication (before), the certificate."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from hashlib import md5
import json
import re
import secrets
import ssl
from tempfile import NamedTemporaryFile
import time
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from envoy_utils.envoy_utils import EnvoyUtils

REALM: Final = "enphaseenergy.com"
DAY: Final = 86400.0
#: The account of the simulated cloud.
CLOUD_USER: Final = "owner@example.com"
CLOUD_PASSWORD: Final = "sunshine"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_token(serial: str, *, now: float, days: float = 300, user: str = "owner", **more: Any) -> str:
    """Make a JWT such as Entrez issues; the signature is random, because the simulated gateway does not check it.

    It expires `days` after the later of simulated and real time (negative: before the earlier), so that both agree.
    """
    real = time.time()
    base = max(now, real) if days > 0 else min(now, real)
    claims = {
        "aud": serial,
        "iss": "Entrez",
        "enphaseUser": user,
        "exp": int(base + days * DAY),
        "iat": int(base),
        "jti": secrets.token_hex(8),
        "username": CLOUD_USER,
        **more,
    }
    head = {"kid": "7d10005d", "typ": "JWT", "alg": "ES256"}
    return ".".join((_b64(json.dumps(head).encode()), _b64(json.dumps(claims).encode()), _b64(secrets.token_bytes(64))))


def read_token(token: str) -> dict[str, Any] | None:
    """Return the claims of a token, None if it is invalid."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except binascii.Error, ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def token_is_good(header: str, serial: str, now: float) -> bool:
    """Return whether an Authorization header is valid for the gateway of this serial number."""
    scheme, _, token = header.partition(" ")
    claims = read_token(token) if scheme == "Bearer" else None
    return bool(claims) and claims is not None and claims.get("aud") == serial and claims.get("exp", 0) > now


def passwords(serial: str) -> dict[str, str]:
    """Return the users of firmware before 7 with their passwords."""
    installer: str = EnvoyUtils.get_password(serial, "installer")
    return {"envoy": serial[-6:], "installer": installer}


class Digest:
    """HTTP digest authentication (RFC 2617, MD5, qop=auth)."""

    def __init__(self, serial: str) -> None:
        """Accept the users of a gateway."""
        self._passwords = passwords(serial)
        self._nonces: set[str] = set()

    def challenge(self) -> str:
        """Return a WWW-Authenticate header."""
        nonce = secrets.token_hex(16)
        self._nonces.add(nonce)
        return f'Digest realm="{REALM}", qop="auth", nonce="{nonce}"'

    def user(self, header: str, method: str) -> str | None:
        """Return the user that an Authorization header authenticates, None if it is invalid."""
        if not header.startswith("Digest "):
            return None
        quoted = dict(re.findall(r'(\w+)="([^"]*)"', header))
        fields = dict(re.findall(r"(\w+)=([^\s,\"]+)", header)) | quoted
        password = self._passwords.get(fields.get("username", ""))
        if password is None or fields.get("nonce") not in self._nonces:
            return None
        secret = _md5(f"{fields['username']}:{REALM}:{password}")
        act = _md5(f"{method}:{fields.get('uri')}")
        parts = (secret, fields["nonce"], fields.get("nc"), fields.get("cnonce"), fields.get("qop"), act)
        return fields["username"] if _md5(":".join(map(str, parts))) == fields.get("response") else None


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def make_certificate(serial: str) -> str:
    """Make a self-signed certificate with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{serial}.envoy.local")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + certificate.public_bytes(serialization.Encoding.PEM)).decode()


def tls(certificate: str) -> ssl.SSLContext:
    """Return the TLS context of a server with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context
