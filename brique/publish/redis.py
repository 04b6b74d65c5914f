"""Redis: a hash for each key, written by a script that looks at the epoch first, so that nothing old can come after.

HGET brique:statement/7 body          HGETALL brique:!head          HKEYS brique:!keys
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from brique.backends import redact
from brique.errors import BackendAway, BackendRefused, BadConfiguration, MissingExtra
from brique.publish.protocol import CONTENT_TYPE, HEAD, Fenced, Head, Item

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as fault:  # pragma: no cover - tests install every extra
    raise MissingExtra("redis is not installed", try_this='pip install "brique[redis]"') from fault

_KEYS = "!keys"
_PAGE = 500
_FIELDS = 6
_TAKE = """
local now = redis.call('HGET', KEYS[1], 'epoch') or '0'
if now ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""
_PUT = f"""
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
for i = 13, #ARGV, {_FIELDS} do
  local key = ARGV[2] .. ARGV[i]
  if ARGV[i + 2] == '' then
    redis.call('DEL', key)
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', key, 'body', ARGV[i + 1], 'etag', ARGV[i + 2], 'position', ARGV[i + 3], 'made_at', ARGV[i + 4],
      'version', ARGV[i + 5], 'content_type', '{CONTENT_TYPE}')
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
  end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3, 12))
return 1
"""
_NOT_NOW = (redis.exceptions.BusyLoadingError, redis.exceptions.ReadOnlyError, redis.exceptions.OutOfMemoryError)
Answer = TypeVar("Answer")


class RedisPlace:
    """The keys that begin with a prefix (`?prefix=`, else `brique:`) in one Redis."""

    kind = "Redis"
    value_bytes_max = 64 * 1024**2

    def __init__(self, name: str, url: str, *, timeout: float, connect_timeout: float) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        self.prefix = options.pop("prefix", "brique:")
        if options:
            raise BadConfiguration(f"{name}: {redact(url)} has options that are not known", try_this="?prefix=shop:")
        self.name = name
        plain = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        try:
            self._redis: Any = redis.Redis.from_url(  # its commands have loose types
                plain, socket_timeout=timeout, socket_connect_timeout=connect_timeout, retry=Retry(NoBackoff(), 0),
                client_name="brique",
            )  # fmt: skip
        except ValueError as fault:
            raise BadConfiguration(f"{name}: {redact(url)} is no address of a Redis") from fault

    def head(self) -> Head:
        found = self._ask(lambda: self._redis.hgetall(self._own(HEAD)))
        return Head.of({_text(name): _text(value) for name, value in found.items()})

    def take(self, known: Head, new: Head) -> None:
        if not self._script(_TAKE, [str(known.epoch), *_flat(new)]):
            raise Fenced(f"{self.name}: another brique has taken it.")

    def put(self, items: Sequence[Item], head: Head) -> None:
        values: list[str | bytes] = [str(head.epoch), self.prefix, *_flat(head)]
        for item in sorted(items, key=lambda item: item.body is None):  # see whether there is memory before all else
            etag = "" if item.body is None else item.etag
            values += [item.key, item.body or b"", etag, str(item.position), item.made_at, item.version]
        if not self._script(_PUT, values):
            raise Fenced(f"{self.name}: another brique has taken it.")

    def inventory(self) -> Iterator[tuple[str, str]]:
        """By the list of keys that is kept along; what was removed or changed by somebody else is looked for too."""
        cursor = 0
        while True:
            cursor, page = self._ask(partial(self._redis.hscan, self._own(_KEYS), cursor, count=_PAGE))
            names = [_text(name) for name in page]
            for name, etag in zip(names, self._fields(names, "etag"), strict=True):
                yield name, _text(etag)
            if not cursor:
                return

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = zip(keys, self._fields(keys, "body"), strict=True)
        return {key: body for key, body in found if body is not None}

    def tidy(self, before: str) -> None:
        """Nothing stays behind here."""

    def abort(self) -> None:
        self._redis.connection_pool.disconnect(inuse_connections=True)

    def close(self) -> None:
        self._redis.close()

    def _own(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def _fields(self, keys: Sequence[str], field: str) -> list[bytes | None]:
        def ask() -> list[bytes | None]:
            with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hget(self._own(key), field)
                found: list[bytes | None] = pipe.execute()
                return found

        return self._ask(ask) if keys else []

    def _script(self, script: str, values: Sequence[str | bytes]) -> bool:
        return bool(self._ask(lambda: self._redis.eval(script, 2, self._own(HEAD), self._own(_KEYS), *values)))

    def _ask(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except _NOT_NOW as fault:
            raise BackendAway(f"{self.name}: not now: {fault}") from fault
        except (redis.exceptions.AuthenticationError, redis.exceptions.ResponseError) as fault:
            raise BackendRefused(f"{self.name}: Redis says: {fault}") from fault
        except (redis.exceptions.RedisError, OSError) as fault:
            raise BackendAway(f"{self.name}: {type(fault).__name__}: {redact(str(fault))}") from fault


def _flat(head: Head) -> list[str]:
    return [text for pair in head.texts().items() for text in pair]


def _text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
