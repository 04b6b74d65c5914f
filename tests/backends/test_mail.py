"""Mail as a backend, on a real SMTP server that refuses, freezes and dies: never lost while it may be tried again,
never sent twice when it may have been taken."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brique.backends import Rung, Tag, open_backend
from brique.backends.mail import MailBackend, TemplateLetters
from brique.backends.mail.plain import text_of
from brique.backends.mail.relay import relay_of
from brique.errors import BackendAway, BackendRefused, BadConfiguration, BadInput
from brique.schema import Effect, Row
from tests.backends.smtp_server import PASSWORD, USER, Server, mail_server
from tests.servers import wait_until

SENDER = "Intranet <intranet@example.org>"
TAG = Tag("stream-1", 7, "01ABCDEFGH12345678")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with mail_server(tmp_path / "smtp") as made:
        yield made


@pytest.fixture
def backend(server: Server) -> Iterator[MailBackend]:
    made = MailBackend("mail", server.url, sender=SENDER, timeout=2.0, connect_timeout=2.0)
    yield made
    made.close()


def send(backend: MailBackend, tag: Tag = TAG, **given: Any) -> Row:
    arguments = {"to": ["awa@example.org"], "subject": "Hello", "text": "Good day"} | given
    with backend.session() as session:
        session.identify(tag)
        return session.call(Effect("send", arguments))


def lost(call: Callable[[], Any]) -> BackendAway:
    """The fault of a call after which it cannot be told whether the mail was taken."""
    with pytest.raises(BackendAway) as caught:
        call()
    assert caught.value.facts.get("at_commit") is True
    return caught.value


def not_sent(call: Callable[[], Any]) -> BackendAway:
    """The fault of a call that has certainly handed nothing over."""
    with pytest.raises(BackendAway) as caught:
        call()
    assert not caught.value.facts.get("at_commit")
    return caught.value


# what arrives


def test_a_mail_arrives_whole(backend: MailBackend, server: Server) -> None:
    answer = send(
        backend,
        to=["Awa Bâ <awa@example.org>", "moussa@example.org"],
        cc=["cc@example.org"],
        bcc=["hidden@example.org"],
        reply_to="shop@example.org",
        subject="Élan — reçu n° 7 " + "x" * 200,
        text="Été\n.\n..dots\n" + "long " * 400,
        html="<p>Été &amp; <b>fin</b></p>",
        attachments=[["reçu.pdf", "application/pdf", b"%PDF\x00\xff"]],
    )
    [mail] = server.mails()
    assert mail["from"] == "intranet@example.org"
    assert set(mail["to"]) == {"awa@example.org", "moussa@example.org", "cc@example.org", "hidden@example.org"}
    assert "hidden" not in mail["raw"] and "Bcc" not in mail["headers"]
    assert mail["headers"]["Subject"].startswith("Élan — reçu n° 7 xxx")
    assert mail["text"].replace("\r\n", "\n").startswith("Été\n.\n..dots\nlong long")
    assert "Été &amp; <b>fin</b>" in mail["html"]
    assert mail["files"] == [["reçu.pdf", "application/pdf"]]
    assert mail["headers"]["Reply-To"] == "shop@example.org" and mail["headers"]["Auto-Submitted"] == "auto-generated"
    assert answer["message_id"] == mail["headers"]["Message-ID"] and "taken" in answer["answer"]
    assert max(len(line) for line in mail["raw"].split("\r\n")) < 998 and mail["raw"].isascii()


def test_a_second_try_of_a_command_bears_the_same_message_id_and_another_command_another(
    backend: MailBackend, server: Server
) -> None:
    for tag in (TAG, TAG, Tag("stream-1", 8, "02ABCDEFGH12345678"), Tag("stream-2", 7, TAG.id)):
        send(backend, tag)
    identities = [mail["headers"]["Message-ID"] for mail in server.mails()]
    assert identities[0] == identities[1] and len(set(identities)) == 3


def test_many_mails_go_over_one_connection(backend: MailBackend, server: Server) -> None:
    began = time.monotonic()
    for number in range(50):
        send(backend, subject=f"Mail {number}")
    assert len(server.mails()) == 50
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": "Hello\r\nBcc: everyone@example.org"},
        {"subject": "Hello\nX: y"},
        {"to": ["awa@example.org\r\nRCPT TO:<x@example.org>"]},
        {"to": ['"a\\nb"@example.org>, <x@example.org']},
        {"to": ["awa@example.org, x@example.org"]},
        {"reply_to": "a@example.org\nX: y"},
        {"attachments": [["a\r\nX: y", "text/plain", b""]]},
        {"attachments": [["a", "text/plain\r\nX: y", b""]]},
        {"to": []},
        {"to": ["awa"]},
        {"to": [f"a{n}@example.org" for n in range(101)]},
        {"from": "boss@example.org"},
    ],
)
def test_nothing_can_be_smuggled_into_a_header(backend: MailBackend, server: Server, wrong: dict[str, Any]) -> None:
    with pytest.raises(BackendRefused):
        send(backend, **wrong)
    assert server.mails() == []


# what the server says


def test_a_recipient_that_the_server_does_not_know_refuses_the_mail_for_all(
    backend: MailBackend, server: Server
) -> None:
    with pytest.raises(BackendRefused, match=r"nobody@example.org: 550 5\.1\.1 no such user"):
        send(backend, to=["awa@example.org", "nobody@example.org"])
    assert server.mails() == []
    send(backend)
    assert len(server.mails()) == 1


@pytest.mark.parametrize(("mode", "said"), [("busy", "greylisted"), ("later", "no room just now")])
def test_a_server_that_says_later_is_tried_again(backend: MailBackend, server: Server, mode: str, said: str) -> None:
    server.mode(mode)
    assert said in not_sent(lambda: send(backend)).message
    server.mode("")
    send(backend)
    assert len(server.mails()) == 1


def test_a_server_that_says_never_refuses_with_its_words(backend: MailBackend, server: Server) -> None:
    server.mode("never")
    with pytest.raises(BackendRefused, match=r"550 5\.7\.1 looks like spam"):
        send(backend)
    with pytest.raises(BackendRefused, match="bytes"):
        send(backend, text="x" * 3_000_000)


# what is lost


def test_a_server_that_dies_before_the_message_has_taken_nothing(backend: MailBackend, server: Server) -> None:
    send(backend)
    server.mode("die-before")
    not_sent(lambda: send(backend))
    not_sent(lambda: send(backend))
    server.mode("")
    server.stop()
    server.start()
    send(backend)
    assert len(server.mails()) == 2


@pytest.mark.parametrize("mode", ["die", "freeze"])
def test_an_answer_that_is_lost_leaves_it_open_whether_the_mail_was_taken(
    backend: MailBackend, server: Server, mode: str
) -> None:
    server.mode(mode)
    began = time.monotonic()
    fault = lost(lambda: send(backend))
    assert time.monotonic() - began < 10
    assert fault.facts["message_id"] == server.mails()[0]["headers"]["Message-ID"]
    server.mode("")
    server.stop()
    server.start()
    send(backend, Tag("stream-1", 8, "other"))
    assert len(server.mails()) == 2


def test_a_frozen_server_ends_a_call_in_time_and_abort_at_once(backend: MailBackend, server: Server) -> None:
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    not_sent(lambda: send(backend))
    assert time.monotonic() - began < 10
    faults: list[BackendAway] = []
    thread = threading.Thread(target=lambda: faults.append(not_sent(lambda: send(backend))))
    began = time.monotonic()
    thread.start()
    while thread.is_alive() and time.monotonic() - began < 10:
        backend.abort()
        thread.join(0.05)
    assert faults and time.monotonic() - began < 1.9
    server.signal(signal.SIGCONT)
    backend.ping(5.0)


def test_a_connection_cut_in_the_middle_of_the_message_has_sent_nothing(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def talk() -> None:
            line, _ = listener.accept()
            with closing(line):
                line.sendall(b"220 hi\r\n")
                for answer in (b"250 x\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                    line.recv(4096)
                    line.sendall(answer)
                line.recv(1000)
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        thread = threading.Thread(target=talk)
        thread.start()
        url = f"smtp://127.0.0.1:{listener.getsockname()[1]}"
        with closing(MailBackend("mail", url, sender=SENDER, timeout=5.0)) as backend:
            not_sent(lambda: send(backend, text="x" * 30_000_000))
        thread.join()


def test_a_server_that_is_not_there_is_away(tmp_path: Path) -> None:
    with closing(MailBackend("mail", "smtp://127.0.0.1:1", sender=SENDER)) as backend:
        not_sent(lambda: send(backend))
        with pytest.raises(BackendAway):
            backend.ping(1.0)
    with pytest.raises(BackendAway):
        backend.ping(1.0)


# who we are


def test_a_login_is_made_and_a_wrong_one_is_away_and_never_shown(server: Server) -> None:
    def opened(password: str, more: str) -> MailBackend:
        made = open_backend(
            "mail", f"smtp://{USER}:{password}@127.0.0.1:{server.port}{more}", options={"sender": SENDER}, timeout=5.0
        )
        assert isinstance(made, MailBackend)
        return made

    with closing(opened("p%40ss%3Aword%2F1", "?tls=no")) as backend:
        backend.ping(5.0)
        send(backend)
    with closing(opened("wrong-secret", "?tls=no")) as backend:
        fault = not_sent(lambda: send(backend))
        assert "login" in fault.message and "wrong-secret" not in f"{fault} {fault.facts}"
    with closing(opened("p%40ss%3Aword%2F1", "")) as backend:
        assert "encryption" in not_sent(lambda: send(backend)).message
    assert len(server.mails()) == 1


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(chain)],
        check=True, capture_output=True,
    )  # fmt: skip
    return chain, key


@dataclass
class Taken:
    mails: int = 0
    encrypted: int = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails += 1
        self.encrypted += session.ssl is not None
        return "250 taken"


def say_hello(port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as line:
        line.recv(100)


@pytest.mark.parametrize("implicit", [False, True])
def test_what_is_sent_is_encrypted_and_the_certificate_verified(certificate: tuple[Path, Path], implicit: bool) -> None:
    from aiosmtpd.controller import Controller

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    taken = Taken()
    more = {"ssl_context": context} if implicit else {"tls_context": context, "require_starttls": True}
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    controller = Controller(taken, hostname="127.0.0.1", port=port, **more)
    if implicit:  # its own start-up check would not trust the certificate
        controller._trigger_server = lambda: say_hello(port)
    controller.start()
    scheme = "smtps" if implicit else "smtp"
    try:
        for host, ca, works in (("localhost", True, True), ("localhost", False, False), ("127.0.0.1", True, False)):
            url = f"{scheme}://{host}:{port}" + (f"?ca={certificate[0]}" if ca else "")
            with closing(MailBackend("mail", url, sender=SENDER, timeout=10.0)) as backend:
                if works:
                    send(backend)
                else:
                    assert "certificate" in not_sent(lambda b=backend: send(b)).message.lower()
    finally:
        controller.stop()
    assert taken.mails == 1 and (implicit or taken.encrypted == 1)


# what it is


def test_it_says_that_it_is_the_last_rung(backend: MailBackend) -> None:
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.NONE and prepared.reason
    assert not prepared.abilities.transactions and not prepared.abilities.marker
    assert backend.watermark("a") is None and backend.catalogue().tables == ()
    with backend.snapshot() as snapshot:
        assert snapshot.fingerprint == backend.fingerprint([])


@pytest.mark.parametrize(
    "url", ["smtp://", "smtp://a:b@", "smtp://host:port", "smtp://host/path", "smtp://host?tls=maybe", "smtp://h?x=1"]
)
def test_an_address_that_is_none_is_said_without_its_password(url: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        relay_of(url.replace("a:b", f"u:{PASSWORD}"), "mail")
    assert PASSWORD not in str(caught.value)


def test_a_login_asks_for_encryption_and_the_port_of_submission() -> None:
    assert (relay_of("smtp://u:p@h", "m").port, relay_of("smtp://u:p@h", "m").tls) == (587, "required")
    assert (relay_of("smtp://h", "m").port, relay_of("smtp://h", "m").tls) == (25, "offered")
    assert (relay_of("smtps://h", "m").port, relay_of("smtps://h", "m").tls) == (465, "implicit")
    assert "p" not in repr(relay_of("smtp://u:p@h", "m")).split("password")[0].replace("port", "").split("tls=")[0][-3:]


def test_a_sender_that_is_no_address_is_said() -> None:
    with pytest.raises(BadConfiguration, match="sender"):
        MailBackend("mail", "smtp://h", sender="me")


# what is written


def letters(folder: Path | None = None, **more: Any) -> TemplateLetters:
    return TemplateLetters("mail", folder, address={"awa": "awa@example.org"}.get, **more)  # type: ignore[arg-type]


def write(made: TemplateLetters, what: str, **more: Any) -> Row:
    given: dict[str, Any] = {"to": ["awa"], "cc": [], "bcc": [], "reply_to": "", "subject": "", "text": "", "html": ""}
    return made.write(what, **({"attachments": [], "values": {}} | given | more)).arguments


def test_a_template_is_escaped_and_its_text_is_derived(tmp_path: Path) -> None:
    (tmp_path / "shipped.html").write_text(
        "<html><head><title>Order {{ n }} &amp; more</title></head><body><p>Dear {{ name }},</p>"
        "<ul><li>one</li><li>two</li></ul><p>See <a href='https://x.example/1'>here</a>.</p></body></html>"
    )
    made = write(letters(tmp_path), "shipped.html", values={"n": 7, "name": "<b>Awa & co</b>"})
    assert made["to"] == ["awa@example.org"] and made["subject"] == "Order 7 & more"
    assert "&lt;b&gt;Awa &amp; co&lt;/b&gt;" in made["html"]
    assert made["text"] == "Dear <b>Awa & co</b>,\n\n- one\n- two\n\nSee here (https://x.example/1).\n"


def test_a_subject_is_set_by_the_template_and_a_text_template_stands_beside(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("{% set subject %}It's {{ n }}{% endset %}<p>HTML</p>")
    (tmp_path / "a.txt").write_text("Text {{ n }} & more")
    made = write(letters(tmp_path), "a.html", values={"n": "<1>"})
    assert made["subject"] == "It's <1>" and made["text"] == "Text <1> & more"
    assert write(letters(tmp_path), "a.txt", subject="S", values={"n": 1}) == {
        "to": ["awa@example.org"], "subject": "S", "text": "Text 1 & more",
    }  # fmt: skip


def test_what_cannot_be_sent_is_said_when_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("{% if %}")
    (tmp_path / "hole.html").write_text("<title>x</title>{{ missing }}")
    made = letters(tmp_path, bytes_max=100)
    for what, more, fault in (
        ("none.html", {}, "no mail template none.html"),
        ("bad.html", {}, "line 1"),
        ("hole.html", {}, "missing"),
        ("Subject", {}, "no text"),
        ("../../etc/passwd.txt", {}, "no mail template"),
    ):
        with pytest.raises(BadConfiguration, match=fault):
            write(made, what, **more)
    for more, fault in (
        ({"to": ["moussa"]}, "no account"),
        ({"to": ["a@b\r\nX: y"]}, "no e-mail address"),
        ({"to": []}, "1 to 100"),
        ({"text": "x" * 101}, "100 bytes"),
        ({"subject": "a\x00b"}, "one line"),
    ):
        with pytest.raises(BadInput, match=fault):
            write(made, "Subject", **({"text": "t"} | more))


def test_html_becomes_readable_text() -> None:
    html = "<style>p{}</style><h1>A</h1>B<br>C &lt;d&gt;<table><tr><td>1</td><td>2</td></tr></table>"
    assert text_of(html) == "A\n\nB\nC <d>\n\n1 2\n"


def test_a_server_comes_back_by_itself(backend: MailBackend, server: Server) -> None:
    server.stop()
    not_sent(lambda: send(backend))
    server.start()
    send(backend)
    wait_until(lambda: len(server.mails()) == 1, 20, "the mail")
