"""A provider of OpenID Connect on loopback, honest unless a test makes it lie."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from app.core.clock import SystemClock

CLIENT_ID, CLIENT_SECRET = "automateos", "a secret of ours"
Key = RSAKey | ECKey | OctKey


@cache
def rsa_key(key_id: str = "rsa-1", serial: int = 1) -> RSAKey:
    """Return a key of its own for each serial; to make one takes a while."""
    del serial
    return RSAKey.generate_key(2048, {"kid": key_id, "use": "sig"})


@dataclass
class Lies:
    """How the answer differs from an honest one."""

    claims: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    header: dict[str, Any] = field(default_factory=dict)
    key: Key | None = None
    token: Callable[[str], str] = lambda token: token
    """Changes the finished id_token."""
    discovery: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """What is sent instead, by path."""


class Provider:
    """Signs everybody in as `person`; each code counts once, with its redirect URI and code verifier."""

    def __init__(self) -> None:
        self.keys: list[Key] = [rsa_key()]
        self.person: dict[str, Any] = {
            "sub": "subject-1",
            "email": "ada@example.com",
            "email_verified": True,
        }
        self.lies = Lies()
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/realm"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def sign_in(self, address: str) -> dict[str, str]:
        """Do what a browser does at the authorization endpoint; returns what it takes to the callback."""
        asked = {name: found[0] for name, found in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def _answer(self, path: str, body: str, authorization: str) -> tuple[int, Any]:
        self.asked.append(path)
        if path == "/realm/.well-known/openid-configuration":
            return 200, self._discovery()
        if path == "/realm/jwks":
            return 200, {"keys": [key.as_dict(private=False) for key in self.keys]}
        if path == "/realm/token":
            return self._redeem(
                {name: found[0] for name, found in parse_qs(body).items()}, authorization
            )
        return 404, {}

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            **self.lies.discovery,
        }

    def _redeem(self, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        asked = self._codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        challenge = _text(hashlib.sha256(verifier.encode()).digest())
        secret = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if (
            asked is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != asked["redirect_uri"]
            or challenge != asked["code_challenge"]
            or authorization != f"Basic {secret}"
        ):
            return 400, {"error": "invalid_grant"}
        token = self.lies.token(self._id_token(asked["nonce"]))
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}

    def _id_token(self, nonce: str) -> str:
        now = int(SystemClock().now().timestamp())
        key = self.lies.key or self.keys[0]
        algorithm = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}[key.key_type]
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.person,
            **self.lies.claims,
        }
        header = {"alg": algorithm, "kid": key.kid, **self.lies.header}
        shown = {name: value for name, value in claims.items() if name not in self.lies.without}
        return jwt.encode(header, shown, key, algorithms=[algorithm])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve("")

            def do_POST(self) -> None:
                self._serve(self.rfile.read(int(self.headers["Content-Length"])).decode())

            def _serve(self, body: str) -> None:
                authorization = unquote_plus(self.headers.get("Authorization", ""))
                status, document = provider._answer(self.path, body, authorization)
                content = json.dumps(document).encode()
                status, content = provider.lies.answers.get(self.path, (status, content))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def unsigned(token: str) -> str:
    """Return a token with `alg: none`."""
    return f"{_text(json.dumps({'alg': 'none', 'kid': 'rsa-1'}).encode())}.{token.split('.')[1]}."


def signed_with_the_public_key(token: str, key: RSAKey) -> str:
    """Return a token that an HS256 verifier takes whose secret is the public key, as PEM."""
    head = f"{_text(json.dumps({'alg': 'HS256', 'kid': 'rsa-1'}).encode())}.{token.split('.')[1]}"
    signature = hmac.new(key.as_pem(private=False), head.encode(), hashlib.sha256).digest()
    return f"{head}.{_text(signature)}"


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
