"""Warmth and carbon monoxide on the screen: a line in normal times, and what to do where they matter."""

from typing import Any, NamedTuple

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from publisher.config.climate import COLD
from publisher.config.co import ALARM, WARNING
from technician.words import _
from technician.words.contract import word


class Notice(NamedTuple):
    """What everybody in the tent must know now: a headline, what to do, and its colour."""

    headline: str
    advice: str
    style: str

    def banner(self, *, short: bool = False) -> Group:
        """Return it across the whole width; the headline alone if it is to be `short`."""
        texts = [Text(self.headline, style="bold")]
        if not short:
            texts.append(Text(self.advice))
        return Group(*(Padding(text, style=self.style, expand=True) for text in texts))


def notice(status: dict[str, Any]) -> Notice | None:
    """Return the most urgent notice; None in normal times."""
    alerts = status["alerts"]
    co_ppm = ppm(status.get("co", {}).get("ppm"))
    if ALARM in alerts:
        return Notice(
            _("DANGER: CARBON MONOXIDE, {ppm}").format(ppm=co_ppm),
            _(
                "Wake everybody and leave the tent now. Open it wide. Stop the generator and the "
                "stove. Count the people outside. Call 101 or 112: who has a headache or feels sick "
                "needs a doctor. Nobody goes back in while this stands. This unit replaces no "
                "certified alarm."
            ),
            "red reverse",
        )
    if WARNING in alerts:
        return Notice(
            _("Warning: carbon monoxide, {ppm} now").format(ppm=co_ppm),
            _(
                "Air the tent, and find out where it comes from: the generator's exhaust, a stove or "
                "a heater. This unit replaces no certified alarm."
            ),
            "yellow reverse",
        )
    if COLD in alerts:
        inside = degrees(status.get("climate", {}).get("inside_c"))
        return Notice(
            _("It is cold inside: {inside}").format(inside=inside),
            _("Heat, close the entrance, look after small children and old people."),
            "cyan reverse",
        )
    return None


def air_text(status: dict[str, Any]) -> Text | None:
    """Return the values of all sensors of warmth and carbon monoxide that are fitted; None without any."""
    fitted = {sensor["name"] for sensor in status["sensors"]}
    climate, co = status.get("climate"), status.get("co")
    parts: list[Text] = []
    if climate is not None:
        if "inside" in fitted:
            text = _("inside {temperature}").format(temperature=degrees(climate["inside_c"]))
            parts.append(Text(text))
        if "outside" in fitted:
            text = _("outside {temperature}").format(temperature=degrees(climate["outside_c"]))
            parts.append(Text(text))
        if climate["humidity_pct"] is not None:
            text = _("humidity {percent} %").format(percent=f"{climate['humidity_pct']:.0f}")
            parts.append(Text(text))
        parts += _doubt(climate["quality"])
    if co is not None:
        parts += [Text(_("CO {ppm}").format(ppm=ppm(co["ppm"]))), *_doubt(co["quality"])]
    return Text(", ").join(parts) if parts else None


def _doubt(quality: str) -> list[Text]:
    """Return a quality that is not ok."""
    return [] if quality == "ok" else [Text(word(quality), style="bold red")]


def degrees(celsius: float | None) -> str:
    """Return a temperature for people."""
    return "–" if celsius is None else f"{celsius:.1f} °C".replace("-", "−")


def ppm(value: float | None) -> str:
    """Return a concentration of carbon monoxide for people."""
    return "–" if value is None else f"{value:.0f} ppm"
