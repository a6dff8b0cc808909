"""Messages to systemd: sd_notify(3) without its library, since it is one datagram."""

import os
import socket


def notify(state: str) -> None:
    """Send `state` (such as READY=1) to the service manager; nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        try:
            manager.connect(address)
            manager.sendall(state.encode())
        except OSError:
            pass  # it is about to end, and ends us too
