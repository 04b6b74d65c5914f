"""Sample pages of the whole look, with the texts and figures of the design: run it to serve them on a local port."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from brique.pages.assets import contents
from brique.pages.look import environment

PAGES = ("table", "form", "conflict", "dashboard", "status", "sign-in")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; font-src 'self'"
)
TEMPLATES = Path(__file__).parent / "gallery_templates"

TITLES = {
    "table": "Commandes",
    "form": "Commande CMD00999871",
    "conflict": "Commande CMD00999871",
    "dashboard": "Tableau de bord",
    "status": "État du système",
}
PILLS = {
    "table": [("1\u202f000\u202f000 lignes", "")],
    "form": [("en attente", "warn")],
    "conflict": [("conflit", "bad")],
    "dashboard": [("données de 10:41", "warn")],
    "status": [("1 source en panne", "bad"), ("brique 1.0 · nœud srv1", "")],
}
BANNER = (
    "ERP injoignable depuis 10:42",
    "Données du 20/11/2026 à 10:41 — lecture normale, vos saisies partent dès son retour.",
    "3 en attente",
    "/outbox",
    "warn",
)
CITIES = ("Thiès", "Dakar", "Rufisque", "Kaolack", "Ziguinchor", "Saint-Louis", "Mbour", "Touba")


def render(page: str, *, language: str = "fr", theme: str = "", extra: dict[str, Any] | None = None) -> str:
    env = environment(language, "Africa/Dakar", asset=lambda name: f"/-/assets/{name}", folders=[TEMPLATES])
    return env.get_template(f"{page}.html").render({**context(page), "theme": theme, **(extra or {})})


def context(page: str) -> dict[str, Any]:
    if page == "sign-in":
        return {"brand": "Intranet", "csrf": ""}
    return {
        "brand": "Intranet",
        "title": TITLES[page],
        "csrf": "secret",
        "user": {"name": "Awa Diop", "role": "admin"},
        "account_links": [("Mon compte", "/account")],
        "language_links": [("Français", "/fr", True), ("English", "/en", False)],
        "menu": menu(page),
        "banners": [] if page == "status" else [BANNER],
        "flashes": [("ok", "Commande enregistrée : reçu n° 1284.")] if page == "form" else [],
        "pills": PILLS[page],
        "back": "/table" if page in ("form", "conflict") else "",
        **data(),
    }


def menu(page: str) -> list[dict[str, Any]]:
    work = [("Tableau de bord", "dashboard"), ("Commandes", "table"), ("Clients", "clients"), ("Stock", "stock")]
    current = {"form": "table", "conflict": "table"}.get(page, page)
    watch = [
        {"label": "Envois en attente", "href": "/outbox", "badge": 3, "badge_kind": "warn"},
        {"label": "État du système", "href": "/status", "badge": 1, "badge_kind": "bad", "current": page == "status"},
        {"label": "API", "href": "/api"},
    ]
    links = [{"label": label, "href": f"/{name}", "current": name == current} for label, name in work]
    return [{"label": "Métier", "links": links}, {"label": "Suivi", "links": watch}]


def data() -> dict[str, Any]:
    sales = [412, 368, 402, 399, 402, 394, 409, 406, 387, 405, 393, 399, 399, 367, 402, 389, 262]
    months = [f"{(index % 12) + 1:02}/{25 + index // 12}" for index in range(len(sales))]
    return {
        "rows": rows(),
        "date": date(2026, 11, 19),
        "moment": datetime(2026, 11, 20, 10, 41, tzinfo=UTC),
        "months": months,
        "sales": sales,
        "floor": [300] * 8 + [None] + [320] * 8,
        "grouped": {"livrées": sales, "validées": [value // 3 for value in sales], "annulées": [-20] * len(sales)},
        "gaps": [math.sin(index) * 40 for index in range(len(sales))],
        "spark": [10 + index / 2 + 3 * math.sin(index * 1.7) for index in range(24)],
        "thousand": [50 + 30 * math.sin(index / 40) + index % 7 for index in range(1000)],
        "thousand_labels": [f"{index // 60:02}:{index % 60:02}" for index in range(1000)],
        "cities": [("Dakar", 128), ("Thiès", 74), ("Kaolack", 61), ("Touba", 55), ("Mbour", 42)],
        "sources": [
            ("ERP DB2 for i (ODBC)", "injoignable", "bad", 2220, 12.4, 3, "SQLSTATE 08001, nouvel essai dans 28 s"),
            ("Stock.xlsx (partage)", "à jour", "ok", 245, 0.3, 0, ""),
            ("MongoDB qualité", "à jour", "ok", 12, 0.1, 0, ""),
            ("Taux BCEAO (web)", "modifié", "warn", 90000, 0.8, 0, "sélecteur introuvable : dernière valeur gardée"),
        ],
        "processes": [("web ×2", 4121, 61_000_000), ("engine", 4123, 48_000_000), ("erp", 4124, 39_000_000)],
        "days": [
            (f"jour {index}", "bad" if index % 41 == 7 else "warn" if index % 23 == 5 else "ok") for index in range(90)
        ],
    }


def rows() -> list[dict[str, Any]]:
    listed = [_row("", "pending", "C006848 Société D6848"), _row("CMD00999871", "conflict", "C002775 Société E2775")]
    for index in range(24):
        client = (index * 7919) % 20000
        listed.append(_row(f"CMD{1_000_000 - index:08}", "", f"C{client:06} Société {'ABCDEFGHI'[index % 9]}{client}"))
    states = ("livrée", "validée", "facturée", "annulée")
    for index, row in enumerate(listed):
        row.update(quantity=(index * 37) % 200, amount=(index * 1234567 + 34789) % 12_000_000)
        row.update(status=states[index % 4], city=CITIES[index % 8], date=f"2026-{index % 9 + 1:02}-{index + 1:02}")
    return listed


def _row(number: str, state: str, client: str) -> dict[str, Any]:
    return {"number": number, "state": state, "client": client}


class Gallery(ThreadingHTTPServer):
    """Serves the pages with the policy of production, a look-up, an event stream that `changed` pulls, and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.changed = threading.Condition()
        self.version = 0
        self.posts: list[str] = []
        self.extra: dict[str, dict[str, Any]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def change(self) -> None:
        with self.changed:
            self.version += 1
            self.changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    server: Gallery
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing: the tests ask what was sent."""

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path.strip("/"), parse_qs(urlsplit(self.path).query)
        if path.startswith("-/assets/"):
            name = path.removeprefix("-/assets/")
            self._send(contents()[name], "text/css" if name.endswith("css") else "text/javascript")
        elif path == "lookup":
            wish = query.get("q", [""])[0].casefold()
            found = [f"C{number:06} Société {letter}" for number, letter in enumerate("ABCDEFGHIJKL", 1)]
            items = [{"key": label[:7], "label": label} for label in found if wish in label.casefold()]
            self._send(json.dumps({"items": items[:8], "more": len(items) > 8}).encode(), "application/json")
        elif path == "events":
            self._events()
        elif path in PAGES:
            theme = query.get("theme", [""])[0]
            extra = {"live": "/events"} if "live" in query else {}
            wish = query.get("q", [""])[0].casefold()
            if wish:
                extra["rows"] = [row for row in rows() if wish in row["client"].casefold()]
            html = render(path, theme=theme, extra={**extra, **self.server.extra.get(path, {})})
            self._send(html.encode(), "text/html; charset=utf-8")
        else:
            self._send(b"nothing here", "text/plain", 404)

    def do_POST(self) -> None:
        self.server.posts.append(self.rfile.read(int(self.headers["content-length"])).decode())
        time.sleep(0.4)  # long enough for impatient second and third clicks
        self._send(b"<!doctype html><title>kept</title><link rel=icon href='data:,'>kept", "text/html")

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        seen = self.server.version
        try:
            self.wfile.write(b": hello\n\n")
            while True:
                with self.server.changed:
                    while self.server.version == seen:
                        self.server.changed.wait(timeout=15)
                    seen = self.server.version
                self.wfile.write(b"event: change\ndata: 1\n\n")
        except OSError:
            self.close_connection = True

    def _send(self, body: bytes, media_type: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Gallery]:
    gallery = Gallery()
    thread = threading.Thread(target=gallery.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield gallery
    finally:
        gallery.shutdown()
        gallery.server_close()
        thread.join()


if __name__ == "__main__":
    with serving() as here:
        print("\n".join(f"{here.url}/{page}" for page in PAGES), flush=True)
        sys.stdin.read()
