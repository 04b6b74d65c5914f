"""What a simulated life has much of, and what little. Half of all lives have the same habits; of the others each has
its own, because what has to come together before a mistake shows is rare where everything happens equally often."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.simulation.faults import PAUSES, USUAL

PLAIN = {
    "burst": 10.0, "click_again": 2, "withdraw": 2, "decide": 2, "dismiss": 1, "other_wish": 1, "sack": 1,
    "colleague": 5, "forget": 1, "turn": 14, "refresh": 7, "pass_time": 2, "change": 2, "kill_engine": 1,
    "kill_process": 1, "step_clock": 1, "haunt": 1, "move_zombie": 2,
}  # fmt: skip
RARE = {
    "lose_store": 1.0, "take_photo": 1, "cut_power": 1, "clean_spool": 1, "rebuild": 1, "rest": 1, "worsen_disk": 4,
}  # fmt: skip
_ALWAYS = ("burst", "turn", "refresh", "change")
_RARE_SHARE = 0.06


@dataclass
class Habits:
    """Those of one life."""

    weights: dict[str, float] = field(default_factory=lambda: dict(PLAIN))
    """How often each thing is done."""
    rare: dict[str, float] = field(default_factory=lambda: dict(RARE))
    rare_share: float = _RARE_SHARE
    moods: tuple[str, ...] = USUAL
    """The kinds of weather that there are."""
    pauses: tuple[float, ...] = PAUSES
    """How often others act while a call is under way."""
    crowd: int = 16
    """How many wishes there are at the same moment, at most."""
    length: int = 1
    """How many times as many commands a life has: more, where people come in crowds."""
    taste: str = "any"
    """The rows that people choose: any, always the same few, or the newest."""
    late_forms: float = 0.15
    """How often they send a form that they had opened a while before."""
    pairs: float = 0.0
    """How many of their changes are of two rows."""
    batch: int = 20
    """How many commands are sent in one transaction at most."""
    prompt: float = 0.5
    """How soon a report arrives that need not have."""
    eager: bool = False
    """A second process begins at once when it is started, and the first one often goes on beside it."""

    @classmethod
    def of(cls, seed: int) -> Habits:
        """Those of the life of `seed`."""
        random = Random(seed + 0.3)
        if random.random() < 0.5:
            return cls()
        crowd = random.choice((16, 16, 6, 64))
        return cls(
            weights={
                name: weight * random.choice((1, 2) if name in _ALWAYS else (0, 0.5, 1, 2, 5))
                for name, weight in PLAIN.items()
            },
            rare={name: weight * random.choice((0.2, 1, 1, 4)) for name, weight in RARE.items()},
            rare_share=random.choice((0.02, 0.06, 0.12)),
            moods=("quiet", *random.sample((*USUAL, "late"), random.choice((1, 2, 4)))),
            pauses=random.choice((PAUSES, (0.15, 0.3))),
            crowd=crowd,
            length=3 if crowd == 64 else 1,
            taste=random.choice(("any", "few", "newest", "newest")),
            late_forms=random.choice((0.15, 0.5, 0.5)),
            pairs=random.choice((0, 0.7)),
            batch=random.choice((20, 20, 3)),
            prompt=random.choice((0.1, 0.5)),
            eager=random.random() < 0.7,
        )
