"""Tables that brique owns: a SQLite file in its own folder, its tables made from their declarations."""

from brique.backends.native.backend import NATIVE_FILE, NativeBackend
from brique.backends.native.make import make

__all__ = ["NATIVE_FILE", "NativeBackend", "make"]
