"""One conversation with an SMTP server, in which it is always known whether the mail may have been taken.

connect ─ EHLO ─ STARTTLS ─ login ─ MAIL ─ RCPT ─ DATA ─ the message │ the final dot ─ the answer
└───────────── whatever fails here: it was certainly not taken ──────┘ └── it may have been ────┘
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from brique.backends.faults import ABORTED, CLOSED, LOST, NOT_NOW, SLOW, away, refused
from brique.backends.mail.message import Mail
from brique.backends.mail.relay import Relay
from brique.backends.watchdog import Watchdog
from brique.errors import BackendAway, BackendRefused
from brique.schema import Row

NO_TLS = "{backend}: the server offers no encryption, and a login is never sent without. (?tls=no in its address)"
BAD_LOGIN = "{backend}: the server does not take the login: {reason}"
SAYS = "The mail server says: {reason}"
UNANSWERED = "{backend}: the mail was handed over, and the answer was lost."
_LOGIN_CODES = (530, 534, 535, 538)
_IDLE_SECONDS_MAX = 5.0
"""A connection that has not been used for so long is not trusted any more."""
_DOT = re.compile(rb"(?m)^\.")
_ANSWER_LINES_MAX = 200


class _Lines:
    """The lines that a server sends: so many for each answer, where smtplib itself would read on for ever."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.left = file, 0

    def readline(self, limit: int = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise OSError("its answer has too many lines")
        return self._file.readline(limit)

    def close(self) -> None:
        self._file.close()


def _bounded(smtp: Any) -> None:
    """Let the next answer of `smtp` have `_ANSWER_LINES_MAX` lines."""
    if smtp.file is None and smtp.sock is not None:
        smtp.file = _Lines(smtp.sock.makefile("rb"))
    if smtp.file is not None:
        smtp.file.left = _ANSWER_LINES_MAX


class _Smtp(smtplib.SMTP):
    def getreply(self) -> tuple[int, bytes]:
        _bounded(self)
        return super().getreply()


class _SmtpSsl(smtplib.SMTP_SSL):
    def getreply(self) -> tuple[int, bytes]:
        _bounded(self)
        return super().getreply()


class Line:
    """The connection, opened when needed. One thread at a time, but for `abort`."""

    def __init__(self, backend: str, relay: Relay, *, connect_timeout: float, watchdog: Watchdog) -> None:
        self.backend, self.relay = backend, relay
        self._connect_timeout, self._watchdog = connect_timeout, watchdog
        self._lock = threading.RLock()
        self._smtp: smtplib.SMTP | None = None
        self._used = 0.0
        self._cut = ""
        self._is_busy = False
        self._closed = False

    def ping(self, seconds: float) -> None:
        """Return when the server takes our login. Raises BackendAway."""
        with self._lock:
            try:
                self._guarded(seconds, lambda: self._open(seconds).noop())
            except BackendRefused as fault:
                raise away(NOT_NOW, backend=self.backend, reason=fault.message) from fault
            finally:
                self.drop()

    def send(self, sender: str, mail: Mail, seconds: float) -> Row:
        """Hand `mail` over; what the server said. Raises BackendRefused, and BackendAway: with the fact `at_commit`
        when it may have been taken all the same."""
        stage = ["talk"]
        with self._lock:
            try:
                return self._guarded(seconds, lambda: self._deliver(sender, mail, seconds, stage))
            except BackendAway as fault:
                self.drop()
                if stage[0] == "dot":
                    lost = away(UNANSWERED, backend=self.backend)
                    lost.facts |= {"at_commit": True, "message_id": mail.id}
                    raise lost from fault
                raise
            except BaseException:
                self.drop()
                raise

    def abort(self) -> None:
        """From another thread: the call in progress fails at once."""
        if self._is_busy:
            self._shut(ABORTED)

    def drop(self) -> None:
        """Close without a word; the next call opens another connection."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    def close(self) -> None:
        self._closed = True
        with self._lock:
            self.drop()

    # inside

    def _guarded(self, seconds: float, call: Callable[[], Row | tuple[int, bytes]]) -> Row:
        if self._closed:
            raise away(CLOSED, backend=self.backend)
        self._cut, self._is_busy = "", True
        try:
            with self._watchdog.call(seconds, lambda: self._shut(SLOW)):
                found = call()
            return found if isinstance(found, dict) else {}
        except (OSError, smtplib.SMTPException) as fault:
            self.drop()
            if self._cut or isinstance(fault, TimeoutError):
                raise away(self._cut or SLOW, backend=self.backend, seconds=seconds) from fault
            raise self._explain(fault) from fault
        finally:
            self._is_busy = False

    def _explain(self, fault: Exception) -> BackendAway | BackendRefused:
        if isinstance(fault, smtplib.SMTPAuthenticationError):
            return away(BAD_LOGIN, backend=self.backend, reason=_said(fault.smtp_code, fault.smtp_error))
        if isinstance(fault, smtplib.SMTPResponseException) and fault.smtp_code > 0:
            return away(NOT_NOW, backend=self.backend, reason=_said(fault.smtp_code, fault.smtp_error))
        return away(LOST, backend=self.backend, reason=str(fault) or type(fault).__name__)

    def _shut(self, why: str) -> None:
        self._cut = self._cut or why
        smtp = self._smtp
        sock = getattr(smtp, "sock", None)
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _open(self, seconds: float) -> smtplib.SMTP:
        """A connection that is ready for a mail."""
        if self._smtp is not None and time.monotonic() - self._used < _IDLE_SECONDS_MAX:
            with suppress(OSError, smtplib.SMTPException):
                if self._smtp.rset()[0] == 250:
                    return self._smtp
        self.drop()
        context = ssl.create_default_context(cafile=self.relay.ca or None)
        host, port, connect = self.relay.host, self.relay.port, min(self._connect_timeout, seconds)
        own = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "localhost"
        smtp: smtplib.SMTP
        if self.relay.tls == "implicit":
            smtp = _SmtpSsl(local_hostname=own, timeout=connect, context=context)
        else:
            smtp = _Smtp(local_hostname=own, timeout=connect)
        smtp._host = host  # type: ignore[union-attr]  # what the certificate is checked for; only `SMTP(host)` sets it
        self._smtp = smtp
        code, said = smtp.connect(host, port)
        if code != 220:
            raise away(NOT_NOW, backend=self.backend, reason=_said(code, said))
        assert smtp.sock is not None
        smtp.sock.settimeout(seconds)
        smtp.ehlo_or_helo_if_needed()
        self._encrypt(smtp, context)
        if self.relay.user:
            smtp.login(self.relay.user, self.relay.password)
        return smtp

    def _encrypt(self, smtp: smtplib.SMTP, context: ssl.SSLContext) -> None:
        if self.relay.tls in ("required", "offered"):
            if smtp.has_extn("starttls"):
                smtp.starttls(context=context)
                smtp.ehlo_or_helo_if_needed()
            elif self.relay.tls == "required":
                raise away(NO_TLS, backend=self.backend)

    def _deliver(self, sender: str, mail: Mail, seconds: float, stage: list[str]) -> Row:
        smtp = self._open(seconds)
        limit = smtp.esmtp_features.get("size", "")
        if limit.isdigit() and 0 < int(limit) < len(mail.content):
            raise refused("The mail has {size} bytes; the server takes {limit}.", size=len(mail.content), limit=limit)
        self._check(*smtp.mail(sender, [f"SIZE={len(mail.content)}"] if "size" in smtp.esmtp_features else []))
        for recipient in mail.recipients:
            self._check(*smtp.rcpt(recipient), about=recipient)
        self._check(*smtp.docmd("DATA"), wanted=354)
        content = _DOT.sub(b"..", mail.content)
        smtp.send(content if content.endswith(b"\r\n") else content + b"\r\n")
        stage[0] = "dot"
        smtp.send(b".\r\n")
        code, said = smtp.getreply()
        stage[0] = "answered"
        self._check(code, said)
        self._used = time.monotonic()
        return {"message_id": mail.id, "answer": _said(code, said)}

    def _check(self, code: int, said: bytes, *, about: str = "", wanted: int = 0) -> None:
        if code == wanted or (not wanted and 200 <= code < 300):
            return
        reason = f"{about}: {_said(code, said)}" if about else _said(code, said)
        if 500 <= code < 600 and code not in _LOGIN_CODES:
            raise refused(SAYS, reason=reason)
        raise away(NOT_NOW, backend=self.backend, reason=reason)


def _said(code: int, text: bytes | str) -> str:
    """An answer as one line for people."""
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    line = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
    return f"{code} {line}"[:500]
