"""The demonstration's options."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the command line gives; `seconds` are real ones, `broker` is (host, port)."""

    broker: tuple[str, int]
    state_dir: Path
    seconds: float | None = None
    speed: float = 1.0
    seed: int = 1
    truth: Path | None = None
