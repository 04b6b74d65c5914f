"""A person at a browser: signed in by the one-time link, who opens forms and sends them."""

from __future__ import annotations

import html
import re
import time
import urllib.parse

from bench.site import Answer, Client, Site

_PASSWORD = "correct horse battery staple"
_INPUT = re.compile(rb"<input\b[^>]*>")
_LINK_SECONDS_MAX = 20.0


class Person:
    """The administrator of `site`. Not for several threads; `again` makes another window of the same browser."""

    def __init__(self, site: Site, cookie: str = "") -> None:
        self.site, self.cookie = site, cookie
        self._client = Client(site.port)
        if not cookie:
            self._sign_up()

    def again(self) -> Person:
        return Person(self.site, self.cookie)

    def close(self) -> None:
        self._client.close()

    def ask(self, method: str, path: str, fields: dict[str, str] | None = None) -> Answer:
        headers = {"Accept": "text/html", "Cookie": self.cookie, "Sec-Fetch-Site": "same-origin"}
        body = None
        if fields is not None:
            body = urllib.parse.urlencode(fields).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Origin"] = f"http://127.0.0.1:{self.site.port}"
        return self._client.ask(method, path, body, headers)

    def form(self, path: str) -> dict[str, str]:
        """The fields of the form at `path` as they are filled, with its secrets."""
        page = self.ask("GET", path)
        assert page.ok, (page.status, page.body[:500])
        fields = {}
        for tag in _INPUT.findall(page.body):
            given = dict(re.findall(r'([\w-]+)="([^"]*)"', tag.decode()))
            if given.get("name") and given.get("type") != "submit":
                fields[given["name"]] = html.unescape(given.get("value", ""))
        return fields

    def _sign_up(self) -> None:
        fields = {"token": self._link(), "name": "awa", "password": _PASSWORD, "repeat": _PASSWORD}
        answer = self.ask("POST", "/-/setup", fields)
        assert answer.status == 303, (answer.status, answer.body[:500])
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    def _link(self) -> str:
        end = time.monotonic() + _LINK_SECONDS_MAX
        while not (found := re.search(r"/-/setup\?token=(\S+)", self.site.log.read_text("utf-8", "replace"))):
            assert time.monotonic() < end, "no link for the first visit was printed"
            time.sleep(0.02)
        return found[1]
