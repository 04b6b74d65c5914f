"""Django with its ORM, templates, sessions, permissions and usual middleware; also with its cache in front of views."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.conf import settings

FOLDER = Path(os.environ["BENCH_FOLDER"])
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if __name__ == "__main__":
    sys.modules["django_app"] = sys.modules["__main__"]
settings.configure(
    DEBUG=False,
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="django_app",
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=MIDDLEWARE,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 200_000}}
    },
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [str(FOLDER / "templates")]}],
    DATABASE_ROUTERS=["django_app.Router"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "django.db", "CONN_MAX_AGE": None},
        "data": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["BENCH_DB"], "CONN_MAX_AGE": None},
    },
)
TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Articles</title></head>
<body><header><a href="/">Shop</a><nav>{% for n in shelves %}<a href="/shelf/{{ n }}">Shelf {{ n }}</a>{% endfor %}</nav>
</header><main><h1>Articles from {{ start }}</h1><table><thead><tr><th>Id</th><th>Name</th><th>Price</th><th>Stock</th>
<th>Note</th></tr></thead><tbody>{% for row in rows %}<tr class="row"><td><a href="/articles/{{ row.id }}">{{ row.id }}</a>
</td><td data-label="Name">{{ row.name }}</td><td data-label="Price" class="num">{{ row.price|floatformat:2 }}</td>
<td data-label="Stock" class="num">{{ row.stock }}</td><td data-label="Note">{{ row.note }}</td></tr>{% endfor %}</tbody>
</table></main></body></html>"""


class Router:
    def db_for_read(self, model: type, **_hints: object) -> str | None:
        return "data" if model.__name__ == "Article" else None

    def allow_migrate(self, db: str, _app: str, model_name: str | None = None, **_hints: object) -> bool:
        return db == "default" and model_name != "article"


django.setup()

from django.contrib.auth.decorators import permission_required  # noqa: E402 - after setup, as Django wants it
from django.db import models  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.cache import cache_page  # noqa: E402


class Article(models.Model):
    name = models.TextField()
    price = models.FloatField()
    stock = models.IntegerField()
    note = models.TextField()
    body = models.TextField()

    class Meta:
        app_label = "auth"
        managed = False
        db_table = "article"


def one(request: HttpRequest, key: int) -> HttpResponse:
    row = Article.objects.get(pk=key)
    fields = ("id", "name", "price", "stock", "note", "body")
    return JsonResponse({name: getattr(row, name) for name in fields})


def page(request: HttpRequest, start: int) -> HttpResponse:
    rows = Article.objects.filter(id__gte=start).order_by("id")[:20]
    return render(request, "page.html", {"start": start, "rows": rows, "shelves": range(20)})


def hello(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"message": "Hello, World!"})


checked = permission_required("auth.view_user", raise_exception=True)
cached = cache_page(3600)
urlpatterns = [
    path("json/<int:key>", one),
    path("page/<int:start>", page),
    path("hello", hello),
    path("a/json/<int:key>", checked(one)),
    path("a/page/<int:start>", checked(page)),
    path("a/hello", checked(hello)),
    path("c/json/<int:key>", checked(cached(one))),
    path("c/page/<int:start>", checked(cached(page))),
]


def prepare() -> None:
    """Make the tables, a user with one permission and his session; its cookie is printed."""
    from django.contrib.auth.models import Permission, User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    (FOLDER / "templates").mkdir(exist_ok=True)
    (FOLDER / "templates" / "page.html").write_text(TEMPLATE)
    call_command("migrate", verbosity=0)
    user = User.objects.create_user("rita", password="bench")
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    session = SessionStore()
    session["_auth_user_id"] = str(user.pk)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = user.get_session_auth_hash()
    session.create()
    print(f"sessionid={session.session_key}")


if __name__ == "__main__":
    prepare()
else:
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    asgi = get_asgi_application()
