"""A battery monitor that speaks VE.Direct text on a pseudo-terminal."""

from sensors.simulated.serial_cable import Cable

#: The fields that a SmartShunt sends before the battery's figures.
_PRODUCT = (("PID", "0xA389"),)


def block(fields: list[tuple[str, str]]) -> bytes:
    """Return a text block with its checksum (Victron, VE.Direct Protocol, 3.33)."""
    data = b"".join(f"\r\n{label}\t{value}".encode() for label, value in fields)
    data += b"\r\nChecksum\t"
    return data + bytes([-sum(data) & 0xFF])


class Monitor(Cable):
    """The monitor at the far end of a serial cable."""

    def report(
        self, voltage_v: float, current_a: float, charge_pct: float, time_to_empty_min: int
    ) -> None:
        """Send one block of figures, as a SmartShunt does once a second; -1 min is "infinite"."""
        self.send(
            block(
                [
                    *_PRODUCT,
                    ("V", f"{voltage_v * 1000:.0f}"),
                    ("I", f"{current_a * 1000:.0f}"),
                    ("P", f"{voltage_v * current_a:.0f}"),
                    ("SOC", f"{charge_pct * 10:.0f}"),
                    ("TTG", f"{time_to_empty_min}"),
                    ("Alarm", "OFF"),
                ]
            )
        )
