"""The server: routes, sign-in, sessions, security; it knows no data.

Declare `Routes`, wrap them with `application`, run them with `serve`. Every route asks for a role unless it is
declared with `role=None`; the gate stands before the routes, so that nothing is open by mistake.
"""

from brique.http.accounts import AccountLimits, Accounts
from brique.http.application import account_routes, application
from brique.http.assets import Assets
from brique.http.csrf import CSRF_FIELD, CSRF_HEADER, check_csrf
from brique.http.events import EVENT_STREAM, Bell, EventStream, wants_events
from brique.http.faults import CrossSite, SignInFailed, SignInNeeded, SlowDown, TooSlow, WrongHost, no_such_page
from brique.http.forms import FrontDesk
from brique.http.gate import Ticket, safe_next
from brique.http.identity import ROLES, Grant, Person, Role, Session, Token, User, allows
from brique.http.language import language_of
from brique.http.limits import Limits, take_time
from brique.http.negotiate import (
    best_accept,
    check_if_match,
    etag_of,
    has_already,
    respond,
    wants_html,
    wants_json,
)
from brique.http.problems import PROBLEM_JSON, TITLES, describe, problem
from brique.http.ready import FOREVER, Stamp, Standing, is_learning, stand_down, stand_ready
from brique.http.rendering import TEMPLATES, Render, own_context, plain_render
from brique.http.routes import Handler, Route, Routes, check_role, requires, ticket_of, user_of
from brique.http.security import Exchange
from brique.http.server import configure, serve
from brique.http.shelf import Shelf
from brique.http.site import Site, at, client_address, header, local_path
from brique.http.throttle import ThrottleLimits

__all__ = [
    "CSRF_FIELD",
    "CSRF_HEADER",
    "EVENT_STREAM",
    "FOREVER",
    "PROBLEM_JSON",
    "ROLES",
    "TEMPLATES",
    "TITLES",
    "AccountLimits",
    "Accounts",
    "Assets",
    "Bell",
    "CrossSite",
    "EventStream",
    "Exchange",
    "FrontDesk",
    "Grant",
    "Handler",
    "Limits",
    "Person",
    "Render",
    "Role",
    "Route",
    "Routes",
    "Session",
    "Shelf",
    "SignInFailed",
    "SignInNeeded",
    "Site",
    "SlowDown",
    "Stamp",
    "Standing",
    "ThrottleLimits",
    "Ticket",
    "Token",
    "TooSlow",
    "User",
    "WrongHost",
    "account_routes",
    "allows",
    "application",
    "at",
    "best_accept",
    "check_csrf",
    "check_if_match",
    "check_role",
    "client_address",
    "configure",
    "describe",
    "etag_of",
    "has_already",
    "header",
    "is_learning",
    "language_of",
    "local_path",
    "no_such_page",
    "own_context",
    "plain_render",
    "problem",
    "requires",
    "respond",
    "safe_next",
    "serve",
    "stand_down",
    "stand_ready",
    "take_time",
    "ticket_of",
    "user_of",
    "wants_events",
    "wants_html",
    "wants_json",
]
