"""Finds out which sensors a tent has: it searches, shows what it found, and asks for the rest."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sensors.clock import Monotonic
from sensors.finding import chips, one_wire, search, serial_names, waving
from sensors.finding.search import AtPort, State
from sensors.gpio import Inputs
from sensors.hardware import Hardware
from sensors.reading import SensorError
from sensors.registry import DRIVERS, config_class, served_by, serving, traits
from sensors.traits import Connection
from technician.setup.dialogue import NOTHING, Dialogue
from technician.setup.draft import Draft
from technician.setup.questions import BATTERY
from technician.setup.questions import usual as usual_answer
from technician.words import _, counted, marked, translated
from technician.words.contract import word

#: Time for moving a hand into the beam, and for walking to a switch.
WAVE_S, SWITCH_S = 20.0, 90.0
#: Time for walking to a thermometer and warming it in the hand.
WARM_S = 120.0
#: A temperature is shown again when it has changed by this much.
SHOWN_STEP_C = 0.5
#: The usual shunt: 50 A at 75 mV.
SHUNT_A, SHUNT_MV = 50.0, 75.0
_FIND = "f"

_UNITS = {
    "voltage_v": "V",
    "charge_pct": "%",
    "power_w": "W",
    "frequency_hz": "Hz",
    "temperature_c": "°C",
    "humidity_pct": "%",
    "co_ppm": "ppm",
}


class Fitting:
    """Goes through the sensors of a configuration; `fitted` are those that are done."""

    def __init__(
        self, draft: Draft, dialogue: Dialogue, hardware: Hardware, fitted: set[str]
    ) -> None:
        self._draft = draft
        self._dialogue = dialogue
        self._hardware = hardware
        self._clock = Monotonic()
        self._lines: set[int] = set()
        self.fitted = fitted

    def find_devices(self) -> None:
        """Look at the serial ports, the I2C buses and the 1-Wire bus. Raises Cancelled."""
        tell = self._dialogue.tell
        ports = serial_names.ports(self._hardware.root)
        if ports:
            tell(
                counted(
                    "Listening on {n} serial port, then asking; this takes up to 15 s …",
                    "Listening on {n} serial ports, then asking; this takes up to 15 s …",
                    len(ports),
                )
            )
        heard = search.search(
            [port.name for port in ports], self._clock, lambda one: tell(_result(one), "  ")
        )
        found = self._find_chips()
        thermometers = self._find_thermometers()
        if (
            not found
            and not thermometers
            and not any(one.state is State.RECOGNISED for one in heard)
        ):
            tell(
                _("No sensor was recognised. Those that are not connected now can be set up later.")
            )
        for port in ports:
            if not port.is_stable:
                tell(
                    _(
                        "{port} has no name that stays the same: leave this cable and all others in "
                        "the sockets where they are now."
                    ).format(port=_short(port.name))
                )
        for one in heard:
            self._place_port(one)
        for chip in found:
            self._place_chip(chip)
        for driver in dict.fromkeys(one.driver for one in thermometers):
            self._place_thermometers(driver, [one for one in thermometers if one.driver == driver])
        self._keep_others()

    def _find_chips(self) -> list[chips.Found]:
        tell = self._dialogue.tell
        numbers = chips.buses(self._hardware.root)
        if not numbers:
            tell(_("There is no I2C bus: sudo raspi-config nonint do_i2c 0 switches it on."))
        found = []
        for number in numbers:
            try:
                bus = self._hardware.i2c(number)
                try:
                    found += chips.search(number, bus)
                finally:
                    bus.deinit()
            except SensorError as error:
                tell(translated(error), "  ")
        for chip in found:
            where = _("{name} at 0x{address:02X} on I2C bus {bus}").format(
                name=chip.name or _("a chip that is not known"), address=chip.address, bus=chip.bus
            )
            tell(where if chip.driver else where + _(": left alone"), "  ")
            if not chip.name:
                hint = _("If it is a sensor, take its supply away for a moment and search again.")
                tell(hint, "    ")
        return [chip for chip in found if chip.driver]

    def _find_thermometers(self) -> list[one_wire.Found]:
        tell, root = self._dialogue.tell, self._hardware.root
        if not one_wire.has_bus(root):
            text = _(
                "There is no 1-Wire bus. For thermometers on it: sudo raspi-config nonint do_onewire 0, "
                "then reboot the Pi."
            )
            tell(text)
        found = one_wire.devices(root)
        for one in found:
            tell(_("{device} on the 1-Wire bus").format(device=one.name), "  ")
        return found

    def _place_port(self, heard: AtPort) -> None:
        """Fit the device on a port, if there is one, as a sensor."""
        present = self._configured(lambda keys: _is_port(keys.get("port"), heard.port))
        if heard.state is State.RECOGNISED:
            name = self._which(_device(heard), heard.serves, present)
            if name is not None:
                self._fit(name, heard.driver, {"port": heard.port})
            return
        if heard.state in (State.BUSY, State.FAILED) or present is not None:
            return
        device = self._dialogue.choose(
            _("What is on {port}?").format(port=_short(heard.port)),
            [*((device, _(device.name)) for device in _serial_devices()), (None, _("nothing"))],
            None,
        )
        if device is not None:
            name = self._which(_(device.name), device.serves, None)
            if name is not None:
                self._fit(name, device.driver, {"port": heard.port})

    def _place_chip(self, chip: chips.Found) -> None:
        keys: dict[str, object] = {"bus": chip.bus, "address": chip.address}
        settings = config_class(chip.driver)
        usual_keys = {key: getattr(settings, key, None) for key in keys}
        present = self._configured(
            lambda section: (
                section.get("driver") == chip.driver
                and {key: section.get(key, usual_keys[key]) for key in keys} == keys
            )
        )
        what = _("the {name} at 0x{address:02X}").format(name=chip.name, address=chip.address)
        name = self._which(what, served_by(chip.driver), present)
        if name is None:
            return
        before = self._draft.get(f"sensors.{name}") or {}
        if present == name or (keys == usual_keys and not keys.keys() & before.keys()):
            keys = {}  # the section has them already, or they are the defaults
        on_shunt = traits(chip.driver).on_shunt
        if on_shunt and before.get("driver") != chip.driver:
            keys |= {"shunt_ohms": SHUNT_MV / 1000 / SHUNT_A, "max_current_a": SHUNT_A}
        self._fit(name, chip.driver, keys)
        if on_shunt:
            self._ask_shunt(name)
        if on_shunt and name == "battery":
            for question in BATTERY:
                (key,) = question.keys
                usual = usual_answer(key, self._draft, self._draft, self._hardware.root)
                self._dialogue.ask_key(self._draft, key, _(question.text), usual)

    def _place_thermometers(self, driver: str, found: Sequence[one_wire.Found]) -> None:
        """Fit thermometers of one kind; several are told apart by the warmth of a hand."""
        sections = self._draft.get("sensors") or {}
        taken = {sections.get(name, {}).get("device") for name in self.fitted}
        left = [one for one in found if one.name not in taken]
        free = [name for name in served_by(driver) if name not in self.fitted]
        if len(left) == 1 or not free:
            for one in left:
                present = self._configured(partial(_is_device, one.name))
                name = self._which(one.name, served_by(driver), present)
                if name is not None:
                    self._fit(name, driver, {"device": one.name})
            return
        for sensor in free:
            device = self._ask_thermometer(sensor, left)
            if device is not None:
                self._fit(sensor, driver, {"device": device})
                left = [one for one in left if one.name != device]

    def _ask_thermometer(self, sensor: str, left: Sequence[one_wire.Found]) -> str | None:
        """Return the name of a sensor's thermometer that is typed, or found by warmth; None for none."""
        tell, names = self._dialogue.tell, [one.name for one in left]
        present = self._draft.get(f"sensors.{sensor}.device")
        usual = present if present in names else names[0] if len(names) == 1 else _FIND
        while names:
            question = _("Thermometer {sensor}: its name; f finds it; - for none").format(
                sensor=word(sensor)
            )
            typed = self._dialogue.ask(question, usual)
            if typed == NOTHING:
                return None
            if typed in names:
                return typed
            if not self._dialogue.is_asking:
                text = _(
                    "{devices}: setup cannot tell which one is {sensor}: --sensor "
                    "{name}={driver},device={first} says so"
                )
                tell(
                    text.format(
                        devices=", ".join(names), sensor=word(sensor), name=sensor,
                        driver=left[0].driver, first=names[0],
                    ),
                    "  ",
                )  # fmt: skip
                return None
            if typed.lower() != _FIND:
                tell(_("{device} is not on the 1-Wire bus.").format(device=typed), "  ")
                continue
            tell(
                _("Hold the one {sensor} in your hand. Waiting for {seconds:.0f} s …").format(
                    sensor=word(sensor), seconds=WARM_S
                )
            )
            found = one_wire.wait_for_warmth(
                left, self._hardware, self._clock, WARM_S, self._shows_temperatures()
            )
            if found is not None:
                tell(_("Found: {device}.").format(device=found), "  ")
                return found
            tell(_("None became warmer than the others: check its cable, or type its name."), "  ")
        return None

    def _shows_temperatures(self) -> Callable[[Mapping[str, float]], None]:
        """Return what prints temperatures by name whenever one has changed."""
        shown_c: dict[str, float] = {}

        def show(now_c: Mapping[str, float]) -> None:
            nonlocal shown_c
            changes = [abs(c - shown_c.get(name, -math.inf)) for name, c in now_c.items()]
            if any(change >= SHOWN_STEP_C for change in changes):
                text = ", ".join(f"{name} {c:.1f} °C" for name, c in now_c.items())
                self._dialogue.tell(text, "  ")
                shown_c = dict(now_c)

        return show

    def _ask_shunt(self, name: str) -> None:
        """Ask for the label of the shunt: amperes and millivolts."""
        section = f"sensors.{name}"
        ampere_key, ohm_key = f"{section}.max_current_a", f"{section}.shunt_ohms"
        before_a, before_ohms = self._draft.get(ampere_key), self._draft.get(ohm_key)
        before_mv = round(before_a * before_ohms * 1000, 3)
        self._dialogue.ask_key(
            self._draft, ampere_key, _("Amperes on the shunt of the {sensor}").format(sensor=name),
            before_a,
        )  # fmt: skip
        while True:
            typed = self._dialogue.ask(_("Millivolts on that shunt"), f"{before_mv:g}")
            present_a = self._draft.get(ampere_key)
            if (typed, present_a) != (f"{before_mv:g}", before_a):
                self._draft.enter(ohm_key, typed)
                millivolts = self._draft.get(ohm_key)
                if isinstance(millivolts, float):
                    self._draft.put(ohm_key, round(millivolts / 1000 / present_a, 9))
            wrong = self._draft.faults()
            faults = [translated(trouble) for key, trouble in wrong if key in (ampere_key, ohm_key)]
            if not faults:
                return
            for fix in faults:
                self._dialogue.tell(fix, "  ")

    def _which(self, what: str, serves: Sequence[str], present: str | None) -> str | None:
        """Return the sensor that a device is to be; None if it is left out."""
        free = [name for name in serves if name not in self.fitted]
        if len(serves) == 1 and free:
            return free[0]
        if not free:
            taken = _("{device}: there is a device for {sensor} already. Use this one instead?")
            if len(serves) == 1 and self._dialogue.agrees(
                taken.format(device=what, sensor=word(serves[0])), False
            ):
                return serves[0]
            text = _("{device} is left out, since there is a device already for: {sensors}.")
            self._dialogue.tell(text.format(device=what, sensors=", ".join(map(word, serves))))
            return None
        choices: list[tuple[str | None, str]] = [(name, word(name)) for name in free]
        first = "generator" if "generator" in free else free[0]
        usual = present if present in free else first
        question = _("What does this measure: {device}?").format(device=what)
        return self._dialogue.choose(question, [*choices, (None, _("nothing"))], usual)

    def _fit(self, name: str, driver: str, keys: dict[str, object]) -> None:
        """Write a sensor's section; other keys of the same driver stay."""
        section = f"sensors.{name}"
        present = self._draft.get(section)
        if isinstance(present, dict) and present.get("driver") == driver:
            keys = {**present, **keys}
        self._draft.put(section, {"driver": driver, **keys})
        self.fitted.add(name)

    def _configured(self, is_it: Callable[[dict[str, object]], bool]) -> str | None:
        """Return the configured sensor whose section fits a device."""
        for name, keys in (self._draft.get("sensors") or {}).items():
            if name not in self.fitted and isinstance(keys, dict) and is_it(keys):
                return str(name)
        return None

    def _keep_others(self) -> None:
        """Ask about the devices of the configuration that were not found."""
        for name, keys in (self._draft.get("sensors") or {}).items():
            driver = keys.get("driver") if isinstance(keys, dict) else None
            if name in self.fitted or str(driver) not in DRIVERS:
                continue
            if not traits(str(driver)).is_recognised:
                continue
            question = _("{sensor} ({driver}) is in the configuration and was not found. Keep it?")
            if self._dialogue.agrees(question.format(sensor=name, driver=driver), True):
                self.fitted.add(name)
            else:
                self._draft.put(f"sensors.{name}", None)

    # GPIO lines

    def find_lines(self) -> None:
        """Ask for the door's beams and for contacts. Raises Cancelled."""
        if not self._dialogue.is_asking:
            return
        outputs = (self._draft.get(f"tent.{key}") for key in ("lamp_gpio", "buzzer_gpio"))
        self._lines |= {gpio for gpio in outputs if isinstance(gpio, int)}
        if "door" not in self.fitted:
            self._ask_door()
        mains = _("Is there a relay contact that tells whether mains is there?")
        if self._draft.get("sensors.mains.driver") in (None, *_on_lines("mains")):
            self._ask_contact("mains", mains)
        for name in ("mains", "generator"):
            driver = str(self._draft.get(f"sensors.{name}.driver"))
            if driver in DRIVERS and traits(driver).measures_ac:
                text = _(
                    "Is there a relay contact on the line that the AC meter of {sensor} measures?"
                )
                self._ask_contact(f"{name}_line", text.format(sensor=word(name)))

    def _ask_door(self) -> None:
        before = self._draft.get("sensors.door.driver")
        drivers = sorted(_on_lines("door"), key=lambda driver: not traits(driver).tells_way)
        choices = [(driver, _(traits(driver).serves["door"])) for driver in drivers]
        while True:
            usual = before if before in drivers else drivers[0]
            question = _("What sees people in the door?")
            driver = self._dialogue.choose(question, [*choices, ("", _("nothing"))], usual)
            if not driver:
                self._draft.put("sensors.door", None)
                return
            beams = {key: _(name) for key, name in traits(driver).lines.items()}
            if len(beams) > 1:  # no two are to be mixed up
                beams = {key: name.upper() for key, name in beams.items()}
            keys: dict[str, object] = {}
            for key, what in beams.items():
                hint = _("Leave the door free, then wave a hand ONCE through {beam}.")
                line = self._ask_line(
                    what, f"sensors.door.{key}", hint.format(beam=what), WAVE_S, *keys.values()
                )
                if line is None:
                    break
                keys[key] = line.gpio
                if line.is_found:
                    keys["blocked_level"] = "high" if line.high else "low"
            if len(keys.keys() & beams.keys()) < len(beams):
                continue
            if keys.get("blocked_level") == "low":
                text = _(
                    "A line is LOW while its beam is broken: either the door was not free, or the "
                    "receiver is one whose cut cable would read as a free door. Is it meant so?"
                )
                if not self._dialogue.agrees(text, False):
                    continue
            if self._is_good("door", driver, keys):
                return

    def _ask_contact(self, name: str, question: str) -> None:
        section, driver = f"sensors.{name}", _on_lines(name)[0]
        if name in self.fitted:
            return
        while self._dialogue.agrees(question, self._draft.get(section) is not None):
            hint = _("Switch it off and on again, or on and off.")
            ((key, what),) = traits(driver).lines.items()
            line = self._ask_line(_(what), f"{section}.{key}", hint, SWITCH_S)
            if line is None:
                continue
            keys: dict[str, object] = {key: line.gpio}
            if line.is_found:
                is_alive = self._dialogue.agrees(_("Is there voltage on this line now?"), True)
                keys["present_level"] = "high" if line.high != is_alive else "low"
            if self._is_good(name, driver, keys):
                return
        self._draft.put(section, None)

    def _is_good(self, name: str, driver: str, keys: dict[str, object]) -> bool:
        """Fit a sensor and tell its faults; return whether there are none."""
        self._fit(name, driver, keys)
        section = f"sensors.{name}"
        faults = [f for f in self._draft.faults() if f[0].startswith(section)]
        for key, trouble in faults:
            self._dialogue.tell(f"{key}: {translated(trouble)}", "  ")
        if faults:
            self.fitted.discard(name)
            return False
        self._lines |= {gpio for gpio in keys.values() if isinstance(gpio, int)}
        return True

    def _ask_line(
        self, what: str, key: str, hint: str, limit_s: float, *taken: object
    ) -> "_Answer | None":
        """Return a line that was found by waving or typed as a number; None if there is none.

        Those that are `taken` are not looked at.
        """
        present = self._draft.get(key)
        while True:
            question = _("GPIO of {what}: a number; f finds it; - for none").format(what=what)
            typed = self._dialogue.ask(question, _FIND if present is None else str(present))
            if typed == NOTHING:
                return None
            if typed.lower() != _FIND:
                return _Answer(int(typed) if typed.isdecimal() else typed, False, False)
            found = self._find_line(hint, limit_s, taken)
            if len(found) == 1:
                gpio, high = found[0]
                self._dialogue.tell(_("Found: GPIO {gpio}.").format(gpio=gpio), "  ")
                return _Answer(gpio, high, True)

    def _find_line(self, hint: str, limit_s: float, taken: Sequence[object]) -> list[waving.Line]:
        tell = self._dialogue.tell
        try:
            gpios = [gpio for gpio in waving.GPIOS if gpio not in {*self._lines, *taken}]
            inputs = Inputs(waving.free_lines(self._hardware, gpios), self._hardware)
        except SensorError as error:
            tell(translated(error), "  ")
            return []
        try:
            tell(_("{hint} Waiting for {seconds:.0f} s …").format(hint=hint, seconds=limit_s))
            found = waving.wait_for_wave(inputs, self._clock, limit_s)
        except SensorError as error:
            tell(translated(error), "  ")
            return []
        finally:
            inputs.close()
        if not found:
            tell(_("No line changed and came back: check supply, lenses and cable."), "  ")
        elif len(found) > 1:
            several = ", ".join(f"GPIO {line.gpio}" for line in found)
            tell(
                _("{several} changed together: once more, one alone.").format(several=several), "  "
            )
        return found


class _Answer(NamedTuple):
    """A line that was typed or found; `high` is its level while the hand was in the beam."""

    gpio: object
    high: bool
    is_found: bool


class _Device(NamedTuple):
    """A kind of device on a serial port: its name, its driver, and the sensors that it can be."""

    name: str
    driver: str
    serves: tuple[str, ...]


def _serial_devices() -> list[_Device]:
    devices = []
    for driver in DRIVERS:
        if traits(driver).connection is Connection.SERIAL:
            serves = traits(driver).serves
            for name in dict.fromkeys(serves.values()):
                sensors = tuple(sensor for sensor in served_by(driver) if serves[sensor] == name)
                devices.append(_Device(name, driver, sensors))
    return devices


def _on_lines(sensor: str) -> list[str]:
    """Return the drivers on GPIO lines that can be a sensor."""
    return serving(sensor, Connection.GPIO)


def _is_port(configured: object, port: str) -> bool:
    return isinstance(configured, str) and serial_names.is_same(configured, port)


def _is_device(name: str, section: Mapping[str, object]) -> bool:
    return section.get("device") == name


def _short(port: str) -> str:
    return Path(port).name


def _device(heard: AtPort) -> str:
    return _(traits(heard.driver).serves[heard.serves[0]])


def _result(heard: AtPort) -> str:
    """Return a sentence about what was found on a port."""
    text = {
        State.SILENT: marked(
            "{port}: silent. Is its device powered? An AC meter answers only while there is AC."
        ),
        State.GARBLED: marked("{port}: something speaks there that Tentwatch does not know."),
        State.BUSY: marked("{port}: another program is using it."),
    }
    if heard.state is State.FAILED and heard.trouble is not None:
        return translated(heard.trouble)
    if heard.state is not State.RECOGNISED:
        return _(text[heard.state]).format(port=_short(heard.port))
    figures = [
        f"{heard.figures[name]:g} {unit}"
        for name, unit in _UNITS.items()
        if heard.figures.get(name) is not None
    ]
    return _("{port}: {device}, {figures}").format(
        port=_short(heard.port), device=_device(heard), figures=", ".join(figures)
    )
