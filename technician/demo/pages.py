"""The demonstration on a terminal: pages, until a key or a signal ends it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.segment import Segment

from technician.demo.demo import demonstration
from technician.demo.options import Options
from technician.demo.screen import Screen
from technician.screen.live import Live, printed, this_display
from technician.terminal import say

REFRESH_S = 0.5


def show_pages(options: Options) -> None:
    """Show pages until a key or a signal ends it; the last one stays on the terminal."""
    screen, display = Screen(options), this_display()
    page: Sequence[Sequence[Segment]] = ()
    with Live(display) as live, demonstration(options, screen.sent) as (agent, stop):
        with ThreadPoolExecutor(1, "agent") as pool:
            running = pool.submit(agent.run)
            try:
                while not (running.done() or live.over):
                    status = agent.status()
                    if status.get("ok"):
                        page = screen.page(status, live.size())
                        live.show(page)
                    live.wait(REFRESH_S)
            finally:
                stop()
        running.result()
    for line in page:
        say(printed(line, display))
