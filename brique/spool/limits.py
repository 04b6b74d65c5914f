"""How much a spool takes, and when it says no."""

from __future__ import annotations

from dataclasses import dataclass

from brique.settings import Settings

MIB = 1024 * 1024


@dataclass
class SpoolLimits:
    """`free_bytes_min`: room on the disk that only urgent entries may use; `bytes_max`: what the whole may take;
    `payload_bytes_max`: one record; a new segment begins after `segment_bytes` or `segment_records`; SQLite's
    log is brought into the segment after `log_pages`."""

    free_bytes_min: int = 8 * MIB
    bytes_max: int = 16 * 1024 * MIB
    payload_bytes_max: int = 16 * MIB
    segment_bytes: int = 64 * MIB
    segment_records: int = 250_000
    log_pages: int = 1000

    @classmethod
    def of(cls, settings: Settings) -> SpoolLimits:
        """As the settings say."""
        return cls(
            free_bytes_min=settings.spool_free_bytes_min,
            bytes_max=settings.spool_bytes_max,
            payload_bytes_max=settings.command_bytes_max,
            segment_bytes=settings.spool_segment_bytes,
            segment_records=settings.spool_segment_records,
        )
