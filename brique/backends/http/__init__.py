"""JSON APIs: lists read page by page, rows written with an idempotency key and an entity tag where the API has them."""

from brique.backends.http.backend import HttpBackend
from brique.backends.http.declare import Basic, Bearer, Header, Http, Resource

__all__ = ["Basic", "Bearer", "Header", "Http", "HttpBackend", "Resource"]
