"""The catalogues on disk: one folder for each language, one file for each room."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files


@cache
def catalogue(language: str) -> dict[str, str]:
    """Every sentence of `language`, by its English text."""
    sentences: dict[str, str] = {}
    folder = files("brique.words") / language
    if language == "en" or not folder.is_dir():
        return sentences
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".json"):
            sentences.update(json.loads(file.read_text("utf-8")))
    return sentences
