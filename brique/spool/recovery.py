"""What a spool found when it was opened, or when it was looked through: a value to log, to show and to act on."""

from __future__ import annotations

from dataclasses import dataclass, field

from brique.spool.protocol import Damage


@dataclass
class Recovery:
    """`records`: how many are kept, damaged ones not counted; `first` and `last`: positions (`first` > `last`: none).

    `wal_frames`: pages that a crash had left in the log, and that were brought in. `missing`: segments, by file name,
    that were set aside or are not there. `foreign`: files that do not belong in the folder, left alone.
    `removed`: what a crash had left half made. `notes`: anything else worth a line.
    """

    stream: str = ""
    segments: int = 0
    records: int = 0
    first: int = 1
    last: int = 0
    bytes: int = 0
    wal_frames: int = 0
    was_closed: bool = True
    taken_over: int = 0
    damages: list[Damage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether everything that was kept can be read."""
        return not (self.damages or self.missing)

    def lines(self) -> list[str]:
        """For the log and the command line: one line for the whole, one for each thing that is not as it should be."""
        ended = "closed in order" if self.was_closed else "not closed in order (a crash, or it is in use)"
        told = [
            f"spool {self.stream}: {self.records} records in {self.segments} segments, positions {self.first} to "
            f"{self.last}, {self.bytes // 1024} KiB; {ended}"
        ]
        if self.wal_frames:
            told.append(f"{self.wal_frames} pages were brought in from the log")
        if self.taken_over:
            told.append(f"{self.taken_over} records were taken over from the single file of an earlier version")
        told += [f"damaged: {damage}" for damage in self.damages]
        told += [f"missing: segment {name}" for name in self.missing]
        told += [f"removed: {name}, left half made by a crash" for name in self.removed]
        told += [f"left alone: {name} does not belong here" for name in self.foreign]
        return told + self.notes
