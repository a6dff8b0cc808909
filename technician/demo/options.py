"""The demonstration's options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the command line gives; `seconds` are real ones.

    `tent` and `broker` are keys of the sections `[tent]` and `[broker]`.
    """

    broker: Mapping[str, str | int | bool]
    state_dir: Path
    tent: Mapping[str, str | int | float] = field(default_factory=dict)
    seconds: float | None = None
    speed: float = 1.0
    seed: int = 1
    truth: Path | None = None
