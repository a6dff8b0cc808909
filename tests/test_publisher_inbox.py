"""The agent's inbox: everything in its order, and readings of different sensors together."""

from publisher.inbox import Asked, Connected, Heard, Inbox, Stop
from sensors.reading import Quality, Reading

News = Heard | Connected | Asked | Stop


def heard(sensor: str, value: float) -> Heard:
    return Heard((Reading(sensor, "voltage_v", value, Quality.OK, value),))


def arrived(*news: News, every_s: float) -> list[tuple[float, object]]:
    """Put news in, `every_s` seconds apart, and take it; of readings return which sensor has read what."""
    now_s = 0.0
    inbox = Inbox(lambda: now_s)
    for one in news:
        now_s += every_s
        inbox.put(one)
    assert len(inbox) == len(news)
    found = inbox.take()
    assert inbox.most == len(news)
    assert inbox.take() == []
    return [
        (
            at_s,
            [(r.sensor, r.value) for r in one.readings] if isinstance(one, Heard) else one,
        )
        for at_s, one in found
    ]


def taken(*news: News) -> list[object]:
    """Return news that came at once, as it is taken."""
    return [one for _, one in arrived(*news, every_s=0.0)]


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
    assert Inbox(lambda: 0.0).take(0.001) == []


def test_news_keeps_the_time_at_which_it_came_in() -> None:
    """The loop may get to it much later: readings of different moments are not handled as one."""
    assert arrived(heard("mains", 1), heard("door", 2), Connected(), every_s=5.0) == [
        (5.0, [("mains", 1)]),
        (10.0, [("door", 2)]),
        (15.0, Connected()),
    ]


def test_readings_that_come_together_have_the_time_of_the_last_one() -> None:
    news = heard("mains", 1), heard("door", 2)
    assert arrived(*news, every_s=0.01) == [(0.02, [("mains", 1), ("door", 2)])]
