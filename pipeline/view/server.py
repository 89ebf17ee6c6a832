"""The viewer's server: one page and its questions, for the person at this machine alone.

It listens on the loopback interface. Other web pages that are open in the same browser cannot use it: the
address has a secret, every question carries it in a header that browsers send across sites only with this
server's leave (which it never gives), and a request that names another host is refused, so that a name
which suddenly points to this machine (DNS rebinding) opens nothing.
"""

import errno
import json
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pipeline.errors import ChainRigError
from pipeline.view.document import page
from pipeline.view.session import QUESTIONS, Session

HOST = "127.0.0.1"
SECRET_HEADER = "X-ChainRig-Secret"
MOST_BYTES = 1_000_000  # of a question
SAFE = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ViewServer(ThreadingHTTPServer):
    """A session on a port of this machine; `address` is what the person opens.

    Args:
        port: 0 for any that is free.

    Raises:
        ChainRigError: the port is taken, or not for this user.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.secret = secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as refused:
            why = "is taken" if refused.errno == errno.EADDRINUSE else f"cannot be used ({refused.strerror})"
            raise ChainRigError(f"Port {port} {why}: choose another with --port, or leave it out.") from None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/?secret={self.secret}"


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if not self._is_asked_here():
            return
        if address.path == "/":
            if not self._knows(parse_qs(address.query).get("secret", [""])[0]):
                self._say(HTTPStatus.FORBIDDEN, "Open the whole address that chainrig view has printed.")
                return
            nonce = secrets.token_urlsafe(16)
            policy = (
                f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
                "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'"
            )
            content = page(self.server.secret, nonce).encode()
            self._send(
                HTTPStatus.OK, "text/html; charset=utf-8", content, {"Content-Security-Policy": policy}
            )
        elif address.path.startswith("/photo/") and self._may():
            self._answered(lambda: self.server.session.picture(int(address.path[7:])), "image/webp")
        elif not address.path.startswith("/photo/"):
            self._say(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        question = urlsplit(self.path).path.removeprefix("/ask/")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The question is too long.")
            return
        body = self.rfile.read(int(length))
        if not self._is_asked_here() or not self._may():
            return
        if question not in QUESTIONS:
            self._say(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return

        def answer() -> bytes:
            asked = json.loads(body or b"{}")
            if not isinstance(asked, dict):
                raise ValueError
            return json.dumps(self.server.session.answer(question, asked)).encode()

        self._answered(answer, "application/json")

    def _is_asked_here(self) -> bool:
        """Whether the request names this server, and not some other site's name for it."""
        port = self.server.server_port
        known = {f"{HOST}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in known and origin in (None, *(f"http://{name}" for name in known)):
            return True
        self._say(HTTPStatus.FORBIDDEN, "This server answers its own page only.")
        return False

    def _may(self) -> bool:
        if self._knows(self.headers.get(SECRET_HEADER, "")):
            return True
        self._say(
            HTTPStatus.FORBIDDEN, "The secret is missing: open the address that chainrig view has printed."
        )
        return False

    def _knows(self, secret: str) -> bool:
        return secrets.compare_digest(secret.encode("utf-8", "replace"), self.server.secret.encode())

    def _answered(self, answer: Any, kind: str) -> None:
        try:
            content = answer()
        except ChainRigError as refused:
            self._say(HTTPStatus.UNPROCESSABLE_ENTITY, str(refused))
        except ValueError:
            self._say(HTTPStatus.BAD_REQUEST, "The question is not understood.")
        else:
            self._send(HTTPStatus.OK, kind, content)

    def _say(self, status: HTTPStatus, sentence: str) -> None:
        self._send(status, "text/plain; charset=utf-8", sentence.encode())

    def _send(
        self, status: HTTPStatus, kind: str, content: bytes, headers: dict[str, str] | None = None
    ) -> None:
        try:
            self.send_response(status)
            for name, value in (
                SAFE | {"Content-Type": kind, "Content-Length": str(len(content))} | (headers or {})
            ).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True  # the page was closed meanwhile

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is the person's: it shows the address and nothing more."""
