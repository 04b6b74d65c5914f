"""Which bytes a browser may draw: pictures that hold pixels and nothing else. No SVG, which may hold a script."""

from __future__ import annotations

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (b"GIF87a", "image/gif", "gif"),
    (b"GIF89a", "image/gif", "gif"),
)


def image_type(value: bytes) -> tuple[str, str] | None:
    """Media type and suffix of a picture, None for anything else. By its first bytes, never by its name."""
    for magic, media_type, suffix in _MAGIC:
        if value.startswith(magic):
            return media_type, suffix
    if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
        return "image/webp", "webp"
    return None
