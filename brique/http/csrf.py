"""The second lock on a session's unsafe requests: its secret, repeated in the form or a header.

The secret is the same for all pages of a session, so that a page's bytes and ETag stay the same. Guessing it from the
length of compressed answers (BREACH) needs another site to make a browser send the cookie along many times;
SameSite=Lax and the check of the origin refuse that.
"""

from __future__ import annotations

import hmac

from starlette.requests import Request

from brique.http.faults import CrossSite
from brique.http.identity import User
from brique.http.language import _
from brique.http.limits import Limits

CSRF_FIELD = "_csrf"
CSRF_HEADER = "X-CSRF-Token"


async def check_csrf(request: Request, user: User, limits: Limits) -> None:
    """Raises CrossSite unless the request repeats the secret of its session; API tokens need none.

    A form is parsed here, once: the handler's own `request.form()` gets the same object.
    """
    if user.via != "session":
        return
    sent = request.headers.get(CSRF_HEADER, "")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not sent and kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        form = await request.form(
            max_files=limits.form_files_max,
            max_fields=limits.form_fields_max,
            max_part_size=limits.form_field_bytes_max,
        )
        field = form.get(CSRF_FIELD, "")
        sent = field if isinstance(field, str) else ""
    if not hmac.compare_digest(sent.encode(), user.csrf.encode()):
        raise CrossSite(_("This form is no longer valid."), try_this=_("Open the page again and send it once more."))
