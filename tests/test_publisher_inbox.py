"""The agent's inbox: everything in its order, and readings of different sensors together."""

from publisher.inbox import Asked, Connected, Heard, Inbox, Stop
from sensors.reading import Quality, Reading


def heard(sensor: str, value: float) -> Heard:
    return Heard((Reading(sensor, "voltage_v", value, Quality.OK, value),))


def taken(*news: Heard | Connected | Asked | Stop) -> list[object]:
    """Put news in and take it; of readings return which sensor has read what."""
    inbox = Inbox()
    for one in news:
        inbox.put(one)
    assert len(inbox) == len(news)
    found = inbox.take()
    assert inbox.most == len(news)
    assert inbox.take() == []
    return [
        [(r.sensor, r.value) for r in one.readings] if isinstance(one, Heard) else one
        for one in found
    ]


def test_news_is_taken_in_the_order_in_which_it_came() -> None:
    assert taken(Connected(), Stop(), Connected()) == [Connected(), Stop(), Connected()]


def test_readings_of_different_sensors_are_taken_together() -> None:
    assert taken(heard("mains", 1), heard("door", 2), heard("battery", 3)) == [
        [("mains", 1), ("door", 2), ("battery", 3)]
    ]


def test_of_two_readings_of_one_sensor_the_rules_see_each() -> None:
    assert taken(heard("mains", 1), heard("door", 2), heard("mains", 3), heard("door", 4)) == [
        [("mains", 1), ("door", 2)],
        [("mains", 3), ("door", 4)],
    ]


def test_nothing_is_taken_before_what_came_earlier() -> None:
    assert taken(heard("mains", 1), Connected(), heard("door", 2)) == [
        [("mains", 1)],
        Connected(),
        [("door", 2)],
    ]


def test_an_empty_inbox_is_waited_for_no_longer_than_asked() -> None:
    assert Inbox().take(0.001) == []
