"""A small OpenID provider on this host: discovery, keys and the token endpoint. The tests say what it answers."""

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CLIENT, SECRET = "portal", "client secret"
KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
}
SHAPES: dict[str, Any] = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}


class Provider:
    def __init__(self, issuer: str) -> None:
        self.issuer = self.announced = issuer
        self.algorithm = "RS256"
        self.key: Any = None  # signs in place of the published one
        self.claims: dict[str, Any] = {}
        self.query: dict[str, str] = {}
        self.sent: list[dict[str, str]] = []

    def visit(self, address: str) -> str:
        """The person signs in there: the state that the way back carries."""
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        return self.query["state"]

    def token(self) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 60}
        claims |= {"nonce": self.query["nonce"], "auth_time": now, **self.claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        key = KEYS[self.algorithm] if self.key is None else self.key
        kid = self.algorithm if self.algorithm in KEYS else "RS256"
        return jwt.encode(claims, key, self.algorithm, headers={"kid": kid})

    def answer(self, path: str, form: dict[str, str]) -> Any:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.announced,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        if path == "/keys":
            shape = [(kid, SHAPES[kid].to_jwk(key.public_key(), as_dict=True)) for kid, key in KEYS.items()]
            return {"keys": [{**key, "kid": kid, "alg": kid} for kid, key in shape]}
        self.sent.append(form)
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        right = (
            form["client_secret"] == SECRET and form["code"] == "right" and challenge == self.query["code_challenge"]
        )
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.token()} if right else None


@contextmanager
def provider() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer({name: values[0] for name, values in parse_qs(text).items()})

        def _answer(self, form: dict[str, str]) -> None:
            answer = made.answer(self.path, form)
            self.send_response(200 if answer else 400)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Provider(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
