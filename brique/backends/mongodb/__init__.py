"""MongoDB and what speaks its protocol, through `pymongo` (extra `brique[mongodb]`)."""

from brique.errors import MissingExtra

try:
    import pymongo as _driver
except ModuleNotFoundError as _fault:
    raise MissingExtra("MongoDB needs the package pymongo.", try_this="pip install 'brique[mongodb]'") from _fault

from brique.backends.mongodb.backend import MongoBackend

assert _driver is not None
__all__ = ["MongoBackend"]
