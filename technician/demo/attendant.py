"""Who looks after the demonstration's tent: fills the tank, and tells the unit so."""

import queue
import threading
from pathlib import Path

from publisher.control import ControlError
from technician import client

#: An attendant whom the unit does not hear, because it does not run yet, tries again after this time.
AGAIN_S = 0.1


class Attendant:
    """Tells the unit of `state_dir` what was filled in, from a thread of its own."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._fillings: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attendant", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the unit nothing more."""
        self._stopping.set()
        self._fillings.put(None)  # wakes the thread
        self._thread.join()

    def has_refuelled(self, litres: float | None) -> None:
        """Note that the tank is full, with `litres` (None: not measured) more than before. Never waits."""
        self._fillings.put(litres)

    def _run(self) -> None:
        while True:
            litres = self._fillings.get()
            while not self._stopping.is_set():
                try:
                    client.refuelled(self._state_dir, litres or None, full=True)
                    break
                except client.Refusal:
                    break  # as the unit's log says
                except ControlError:
                    self._stopping.wait(AGAIN_S)
            if self._stopping.is_set():
                return
