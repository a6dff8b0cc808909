"""The connection to the broker, step by step: name, TCP, TLS, login, the user's rights, a round trip.

Doctor makes its own connection and logs in as the unit does, with the same id and will: it fails where the
unit fails, and passes where it passes. This would disconnect a unit that is connected. So doctor asks such a
unit instead, and does not log in where a unit may run that does not answer.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from publisher import messages
from publisher.clock import Clock
from publisher.config.load import Config
from publisher.link.client import Client
from publisher.link.credentials import check_files
from publisher.link.dial import Dial
from publisher.link.mailbox import Mailbox
from publisher.link.refusals import NO_COMMANDS, of_end, of_login, of_message
from publisher.link.trial import WILL, Heard, explained
from publisher.link.troubles import (
    COMMANDS_CHECK,
    FILES_CHECK,
    LOGIN_CHECK,
    LOST_AGAIN,
    NAME_CHECK,
    NO_LOGIN,
    NO_PUBACK,
    PUBLISH_CHECK,
    ROUND_TRIP_CHECK,
    TAKEN_OVER,
    TCP_CHECK,
    TLS_CHECK,
    LinkTrouble,
    Unusable,
)
from publisher.messages import Topics
from technician.doctor.findings import (
    Finding,
    Text,
    Verdict,
    not_tried,
    of_status,
    of_trouble,
    unknown,
    warning,
    well,
)
from technician.words import marked

STEPS = (
    NAME_CHECK, TCP_CHECK, TLS_CHECK, LOGIN_CHECK, PUBLISH_CHECK, COMMANDS_CHECK, ROUND_TRIP_CHECK,
)  # fmt: skip
#: Longest time for each of name, TCP with TLS, login, and answers, in seconds.
STEP_S = 4.0
#: Longest time for all of them, in seconds: `doctor` has 10 s.
LIMIT_S = 8.5
#: Seconds after which a unit that has ended our connection by its login reports that it is connected.
MEANWHILE_S = 1.0
#: A connection that was lost less than this many seconds ago is reported even if it is back.
RECENT_S = 300.0
#: Doctor's message is an answer to a command with this `cid`, which nobody has sent: dashboards ignore it.
CID = "doctor"


class _Stop(Exception):
    """A step has failed; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.key)
        self.finding = finding


class Way:
    """The connection to one broker.

    `status` and `report` ask the running unit; None if none answers. `why_silent` says why nobody may log in
    in the place of a unit that does not answer, and the cure; None if no unit runs.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        status: Callable[[], Mapping[str, Any] | None],
        report: Callable[[], object],
        why_silent: Callable[[], tuple[str, str | None] | None],
    ) -> None:
        self._config = config
        self._broker = config.broker
        self._where = f"{config.broker.host}:{config.broker.port}"
        self._clock = clock
        self._status = status
        self._report = report
        self._why_silent = why_silent
        self._mailbox = Mailbox()
        self._limit_s = self._step_s = 0.0
        self._waits_for = NAME_CHECK

    def walk(self) -> list[Finding]:
        """Go through the steps until one fails; return one finding per step, in order."""
        self._limit_s = time.monotonic() + LIMIT_S
        try:
            check_files(self._broker)
        except Unusable:  # the check of the files reports it
            self._mailbox.close()
            return untried(marked("{step} is not in order"), step=FILES_CHECK)
        found: dict[str, Finding] = {}
        sock: socket.socket | None = None
        try:
            sock = self._dial()
            for key in (NAME_CHECK, TCP_CHECK, TLS_CHECK):
                found[key] = self._passed(key, sock)
            status = self._status()
            silent = self._why_silent() if status is None else None
            reported = [] if silent is None else [*_not_logged_in(*silent)]
            if status is not None:
                reported = self._reported(status["link"])
            for finding in reported or self._log_in(sock):
                found[finding.key] = finding
            if status is not None and not reported:
                found[LOGIN_CHECK] = self._why_not_connected(status["link"])
        except _Stop as stop:
            if LOGIN_CHECK in found and (link := self._connected_meanwhile()) is not None:
                found |= {finding.key: finding for finding in self._reported(link)}
                return [*_whole(found)]
            key = stop.finding.key
            if key == FILES_CHECK:
                return untried(marked("{step} is not in order"), step=FILES_CHECK)
            for step in STEPS[: STEPS.index(key)]:
                found.setdefault(step, self._passed(step, None))
            found[key] = stop.finding
        finally:
            if sock is not None:
                sock.close()
            self._mailbox.close()
        return [*_whole(found)]

    # Name, TCP, TLS

    def _dial(self) -> socket.socket:
        broker = self._broker
        dial = Dial(broker, self._clock)
        self._begin_step()
        try:
            return dial.connect(self._wait, self._mailbox.wake)
        except Unusable as trouble:
            raise _stopped(trouble) from trouble

    def _begin_step(self) -> None:
        self._step_s = min(time.monotonic() + STEP_S, self._limit_s)

    def _wait(self, sock: socket.socket | None, events: int, limit_s: float) -> None:
        """Wait for the connection, within the step's own limit."""
        step = TLS_CHECK if isinstance(sock, ssl.SSLSocket) else TCP_CHECK
        if sock is None:
            step = NAME_CHECK
        if step != self._waits_for and self._waits_for == NAME_CHECK:
            self._begin_step()  # the name was found
        self._waits_for = step
        self._mailbox.wait(sock, events, min(limit_s, self._step_s))

    def _passed(self, key: str, sock: socket.socket | None) -> Finding:
        """Return the finding of a successful step."""
        broker = self._broker
        if key == NAME_CHECK:
            if sock is None:
                return well(key, marked("{host} is known"), host=broker.host)
            return well(key, "{host}: {address}", host=broker.host, address=sock.getpeername()[0])
        if key == TCP_CHECK:
            return well(key, marked("{where} takes connections"), where=self._where)
        if key == TLS_CHECK:
            if not broker.tls:
                return not_tried(key, marked("tls = false in [broker]"))
            version = sock.version() if isinstance(sock, ssl.SSLSocket) else ""
            return well(key, marked("the certificate holds ({version})"), version=version or "TLS")
        return well(key, marked("accepted"))

    # The running unit's reports

    def _reported(self, link: Mapping[str, Any]) -> list[Finding]:
        """Return findings from the running unit about its own connection; empty if it has none."""
        if not link["connected"]:
            # Our own login would not reveal another unit with the same id.
            twin = _twin(link.get("trouble"))
            return [] if twin is None else [twin]
        found = {LOGIN_CHECK: well(LOGIN_CHECK, marked("the running unit is logged in"))}
        age_s = link.get("last_error_age_s")  # an older program does not report it
        if age_s is not None and age_s < RECENT_S:
            found[LOGIN_CHECK] = self._reconnected(link, age_s)
        found[PUBLISH_CHECK] = well(PUBLISH_CHECK, marked("the broker takes the unit's messages"))
        found[COMMANDS_CHECK] = well(COMMANDS_CHECK, marked("the unit hears commands"))
        if link["error"]:
            finding = of_status(link.get("trouble")) or unknown(PUBLISH_CHECK, link["error"])
            found[finding.key] = finding
        found[ROUND_TRIP_CHECK] = self._round_trip_of_the_unit(link)
        return [*found.values()]

    def _connected_meanwhile(self) -> Mapping[str, Any] | None:
        """Return what the unit reports if it has logged in, which ends our connection; None if it has not."""
        self._begin_step()
        limit_s = min(self._step_s, time.monotonic() + MEANWHILE_S)
        while (status := self._status()) is not None:
            link: Mapping[str, Any] = status["link"]
            if link["connected"]:
                return link
            if time.monotonic() > limit_s:
                break
            time.sleep(0.1)
        return None

    def _why_not_connected(self, link: Mapping[str, Any]) -> Finding:
        """Return why the running unit cannot log in although doctor can."""
        wait = marked(
            "wait for a minute, and look again; where it stays so: sudo systemctl restart tentwatch"
        )
        if link["error"] is None:
            return warning(
                LOGIN_CHECK, marked("the login works, and the unit is about to connect"), wait
            )
        why = of_status(link.get("trouble")) or unknown(LOGIN_CHECK, link["error"])
        if why.key == FILES_CHECK:
            text = marked("the login works here; the service cannot: {why}")
            return Finding(LOGIN_CHECK, Verdict.FAIL, Text(text, {"why": why.seen}), why.cure)
        text = marked("the login works here; the unit has not tried again yet ({why})")
        return warning(LOGIN_CHECK, text, wait, why=why.seen)

    def _reconnected(self, link: Mapping[str, Any], age_s: float) -> Finding:
        """Return why the connection was lost a short while ago."""
        twin = _twin(link.get("last_trouble"))
        if twin is not None:
            return twin
        why = of_status(link.get("last_trouble")) or unknown(LOGIN_CHECK, link["last_error"])
        return warning(
            LOGIN_CHECK,
            marked(
                "logged in again; {seconds:.0f} s ago: {why} ({times} failures since the start)"
            ),
            marked(
                "the way there breaks: look at the modem's signal; where it happens often, tell the centre"
            ),
            seconds=age_s,
            why=why.seen,
            times=link["failures"],
        )

    def _round_trip_of_the_unit(self, before: Mapping[str, Any]) -> Finding:
        """Let the unit send a snapshot, and wait until the broker has confirmed it."""
        if "confirmed" not in before:
            return not_tried(ROUND_TRIP_CHECK, marked("an older program runs, which does not tell"))
        self._report()
        self._begin_step()
        while (left_s := self._step_s - time.monotonic()) > 0:
            status = self._status()
            link = None if status is None else status["link"]
            if link is not None and link["confirmed"] > before["confirmed"]:
                return _took(link["puback_s"])
            time.sleep(min(0.1, left_s))
        return self._unconfirmed()

    # A login of our own

    def _log_in(self, sock: socket.socket) -> Iterator[Finding]:
        """Log in, publish and subscribe as the unit does. Raises _Stop at a failed step."""
        broker, tent_id = self._broker, self._config.tent.id
        is_v5 = broker.protocol == "5"
        topics = Topics(broker.prefix, tent_id)
        heard = Heard()
        client = Client(broker, tent_id, WILL, heard, window=1)
        try:
            client.log_in(sock)
            self._serve(client, lambda: heard.is_welcome or heard.has_ended())
            self._check_end(heard)
            if not heard.is_welcome:
                raise _stopped(LinkTrouble(NO_LOGIN, where=self._where))
            yield well(LOGIN_CHECK, marked("accepted as {user}"), user=broker.username or "–")
            sent_s = time.monotonic()
            client.publish(topics.of(f"res/{CID}"), messages.answer(CID, "doctor").encode())
            client.subscribe(topics.of("cmd/+"))
            self._serve(
                client,
                lambda: (
                    heard.has_ended() or (heard.confirmed_s is not None and heard.is_subscribed)
                ),
            )
            self._check_end(heard)
        finally:
            client.log_out()  # so that the broker publishes no will
        yield self._may_publish(heard, topics.of(f"res/{CID}"), is_v5=is_v5)
        yield self._may_listen(heard, topics.of("cmd/#"))
        if heard.confirmed_s is None:
            yield self._unconfirmed()
        else:
            yield _took(heard.confirmed_s - sent_s)

    def _check_end(self, heard: Heard) -> None:
        """Raise _Stop if the broker has refused the login or ended the connection."""
        broker, tent_id = self._broker, self._config.tent.id
        if heard.refusal is not None:
            raise _stopped(of_login(heard.refusal, broker, tent_id))
        if heard.end is not None:
            reason, by_broker = heard.end
            trouble = of_end(reason, broker, tent_id, by_broker=by_broker, is_up=heard.is_welcome)
            dial = Dial(broker, self._clock)
            raise _stopped(
                explained(
                    trouble,
                    broker,
                    tent_id,
                    lambda: dial.connect(self._wait, self._mailbox.wake),
                    self._mailbox,
                )
            )

    def _serve(self, client: Client, is_done: Callable[[], bool]) -> None:
        """Read and write until `is_done`, or until the step's time is over."""
        self._begin_step()
        while not is_done() and (left_s := self._step_s - time.monotonic()) > 0:
            try:
                client.serve(self._mailbox.poll, left_s)
            except LinkTrouble as trouble:
                raise _stopped(trouble) from trouble

    def _may_publish(self, heard: Heard, topic: str, *, is_v5: bool) -> Finding:
        if heard.confirmed_s is None:
            return not_tried(PUBLISH_CHECK, marked("the broker has not answered"))
        if heard.message_refusal is not None:
            trouble = of_message(heard.message_refusal, self._where, topic)
            return of_trouble(PUBLISH_CHECK, trouble.kind, trouble.values)
        if not is_v5:
            return not_tried(PUBLISH_CHECK, marked("with MQTT 3.1.1 no broker tells"))
        return well(PUBLISH_CHECK, marked("the tent's user may write"))

    def _may_listen(self, heard: Heard, topic: str) -> Finding:
        if not heard.is_subscribed:
            return not_tried(COMMANDS_CHECK, marked("the broker has not answered"))
        if heard.commands_refusal is not None:
            return of_trouble(COMMANDS_CHECK, NO_COMMANDS, {"where": self._where, "topic": topic})
        return well(COMMANDS_CHECK, marked("the tent's user may hear commands"))

    def _unconfirmed(self) -> Finding:
        values = {"where": self._where, "seconds": round(STEP_S)}
        return of_trouble(ROUND_TRIP_CHECK, NO_PUBACK, values)


def _stopped(trouble: LinkTrouble) -> _Stop:
    return _Stop(of_trouble(trouble.kind.concerns, trouble.kind, trouble.values))


def _not_logged_in(why: str, cure: str | None) -> Iterator[Finding]:
    """Return a finding for each step from the login on: a unit may be logged in that does not answer."""
    for key in STEPS[STEPS.index(LOGIN_CHECK) :]:
        yield not_tried(key, why, cure)


def _twin(trouble: Mapping[str, Any] | None) -> Finding | None:
    """Return the finding if another unit has, or may have, this one's id."""
    if trouble is None or trouble["code"] not in (TAKEN_OVER.code, LOST_AGAIN.code):
        return None
    return of_status(trouble)


def _took(seconds: float) -> Finding:
    return well(
        ROUND_TRIP_CHECK,
        marked("a message was confirmed in {millis:.1f} ms"),
        millis=1000 * seconds,
    )


def _whole(found: Mapping[str, Finding]) -> Iterator[Finding]:
    """Return a finding for each step; steps after a failed one were not tried."""
    failed = next(
        (step for step in STEPS if step in found and found[step].verdict is Verdict.FAIL), ""
    )
    for step in STEPS:
        yield found.get(step) or not_tried(step, marked("{step} is not in order"), step=failed)


def untried(why: str, step: str = "") -> list[Finding]:
    """Return findings that say why no step was tried; `why` is a template for `step`."""
    return [not_tried(key, why, step=step) for key in STEPS]
