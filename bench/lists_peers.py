"""The peers of the list pages: Django's admin and Datasette over the same order lines, each as its users run it.

Both get a table of the ERP's order lines with a number of its own for each row (Django's admin wants a key of one
column), an index on every column, and for Datasette the trigram index that makes its search find substrings.
"""

from __future__ import annotations

import http.client
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench.site import Answer, Client, free_port
from brique.demo import Demo

COLUMNS = ("ord", "lin", "article", "quantity", "price", "discount", "amount")
DATABASE = "peers"


def make_database(demo: Demo) -> str:
    """The URL of a database beside the ERP with its order lines, made if need be."""
    url = demo.server.admin_url(DATABASE)
    with psycopg.connect(demo.server.admin_url("postgres"), autocommit=True) as server:
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(DATABASE)))
    with psycopg.connect(url) as target:
        if target.execute("SELECT to_regclass('line')").fetchone() == ("line",):
            return url
        target.execute(
            "CREATE TABLE line(id bigint, ord integer, lin smallint, article text, quantity integer, "
            "price numeric(12, 2), discount numeric(5, 2), amount numeric(14, 2))"
        )
        _copy(demo, target)
        target.execute("ALTER TABLE line ADD PRIMARY KEY (id)")
        for column in COLUMNS:
            target.execute(sql.SQL("CREATE INDEX ON line({})").format(sql.Identifier(column)))
    with psycopg.connect(url, autocommit=True) as target:
        target.execute("VACUUM ANALYZE line")
    return url


_LINES = """
    SELECT row_number() OVER (ORDER BY "OLORD", "OLLIN"),
        "OLORD", "OLLIN", trim("OLART"), "OLQTY", "OLPRX", "OLREM", "OLAMT"
    FROM "ORLNPF"
"""


def _copy(demo: Demo, target: psycopg.Connection[Any]) -> None:
    with (
        psycopg.connect(demo.server.admin_url()) as source,
        source.cursor().copy(f"COPY ({_LINES}) TO STDOUT") as rows,
        target.cursor().copy("COPY line FROM STDIN") as into,
    ):
        for block in rows:
            into.write(block)


def make_file(demo: Demo, path: Path) -> None:
    """The same rows as a SQLite file with every index, and a search index of trigrams, for Datasette."""
    sqlite3.register_adapter(Decimal, float)
    target = sqlite3.connect(path)
    target.execute(
        "CREATE TABLE line(id INTEGER PRIMARY KEY, ord INTEGER, lin INTEGER, article TEXT, quantity INTEGER, "
        "price REAL, discount REAL, amount REAL)"
    )
    with psycopg.connect(demo.server.admin_url()) as source, source.cursor(name="lines") as cursor:
        cursor.itersize = 10_000
        cursor.execute(_LINES.encode())
        while rows := cursor.fetchmany(10_000):
            target.executemany("INSERT INTO line VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    for column in COLUMNS:
        target.execute(f"CREATE INDEX line_{column} ON line({column})")
    target.execute(
        "CREATE VIRTUAL TABLE line_fts USING fts5(article, content='line', content_rowid='id', tokenize='trigram')"
    )
    target.execute("INSERT INTO line_fts(line_fts) VALUES ('rebuild')")
    target.execute("ANALYZE")
    target.commit()
    target.close()


@contextmanager
def datasette(file: Path) -> Iterator[Client]:
    """Datasette over `file`, which it may take for granted never changes."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("datasette")), "serve", "-i", str(file), "-p", str(port)]
    with _running(command, file.with_suffix(".log"), port, f"/{file.stem}/line?_size=1"):
        yield Client(port, timeout=60.0)


@contextmanager
def django(url: str, folder: Path) -> Iterator[Client]:
    """Django's admin over the table at `url`, signed in; its own tables are in a SQLite file in `folder`."""
    port = free_port()
    settings = _SETTINGS.format(folder=str(folder), **_parts(url))
    for name, content in {**_PROJECT, "project/settings.py": settings}.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, "utf-8")
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings", "PYTHONPATH": str(folder)}
    user = ["createsuperuser", "--noinput", "--username", "bench", "--email", "bench@example.org", "-v", "0"]
    for arguments in (["migrate", "-v", "0"], user):
        subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            check=True,
            env={**environment, "DJANGO_SUPERUSER_PASSWORD": "bench"},
            cwd=folder,
        )
    command = [sys.executable, "-W", "ignore", "-m", "uvicorn", "--interface", "wsgi", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning", "project.wsgi:application"]
    with _running(command, folder / "django.log", port, "/admin/login/", environment):
        yield _signed_in(port)


def _signed_in(port: int) -> Client:
    client = Client(port, timeout=60.0)
    form = client.get("/admin/login/")
    cookie = re.search(r"csrftoken=([^;]+)", form.headers["set-cookie"])
    token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', form.body)
    assert cookie is not None
    assert token is not None
    fields = {"username": "bench", "password": "bench", "csrfmiddlewaretoken": token[1].decode(), "next": "/admin/"}
    answer = client.ask(
        "POST",
        "/admin/login/",
        urllib.parse.urlencode(fields).encode(),
        {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"csrftoken={cookie[1]}"},
    )
    session = re.search(r"sessionid=([^;]+)", answer.headers.get("set-cookie", ""))
    assert session is not None, f"Django's admin did not let us in: {answer.status}"
    client.headers["Cookie"] = f"sessionid={session[1]}; csrftoken={cookie[1]}"
    return client


@contextmanager
def _running(
    command: list[str], log: Path, port: int, path: str, environment: dict[str, str] | None = None
) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=log.parent)
    try:
        _wait(process, log, port, path)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], log: Path, port: int, path: str) -> None:
    client, end = Client(port, timeout=30.0), time.monotonic() + 60
    while True:
        try:
            answer: Answer = client.get(path)
            if answer.ok:
                client.close()
                return
        except (OSError, http.client.HTTPException):
            pass
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"a peer did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
        time.sleep(0.05)


def _parts(url: str) -> dict[str, Any]:
    parts = urllib.parse.urlsplit(url)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "user": urllib.parse.unquote(parts.username or ""),
        "password": urllib.parse.unquote(parts.password or ""),
        "name": parts.path.lstrip("/"),
    }


_SETTINGS = """
DEBUG = False
SECRET_KEY = "bench"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "project.urls"
USE_TZ = True
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                  "django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles", "shop"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.contrib.sessions.middleware.SessionMiddleware",
              "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django.contrib.messages.middleware.MessageMiddleware"]
TEMPLATES = [{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {{
    "context_processors": ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
                           "django.contrib.messages.context_processors.messages"]}}}}]
DATABASE_ROUTERS = ["project.router.Router"]
DATABASES = {{
    "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {folder!r} + "/django.db"}},
    "erp": {{"ENGINE": "django.db.backends.postgresql", "HOST": {host!r}, "PORT": {port!r}, "USER": {user!r},
            "PASSWORD": {password!r}, "NAME": {name!r}, "CONN_MAX_AGE": 600}},
}}
"""
_PROJECT = {
    "project/__init__.py": "",
    "shop/__init__.py": "",
    "project/router.py": """
class Router:
    def db_for_read(self, model, **hints):
        return "erp" if model._meta.app_label == "shop" else None

    def allow_migrate(self, db, app_label, **hints):
        return db == "default" and app_label != "shop"
""",
    "project/urls.py": """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
""",
    "project/wsgi.py": """
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
""",
    "shop/models.py": """
from django.db import models


class Line(models.Model):
    id = models.BigIntegerField(primary_key=True)
    order = models.IntegerField(db_column="ord")
    line = models.SmallIntegerField(db_column="lin")
    article = models.TextField()
    quantity = models.IntegerField()
    price = models.DecimalField(max_digits=12, decimal_places=2)
    discount = models.DecimalField(max_digits=5, decimal_places=2)
    amount = models.DecimalField(max_digits=14, decimal_places=2)

    class Meta:
        managed = False
        db_table = "line"
""",
    "shop/admin.py": """
from django.contrib import admin

from shop.models import Line


@admin.register(Line)
class LineAdmin(admin.ModelAdmin):
    list_display = ["id", "order", "line", "article", "quantity", "price", "discount", "amount"]
    search_fields = ["article"]
    list_per_page = 25
""",
}
