"""Drivers: one device in, Readings out. Nothing here knows of MQTT, databases, systemd or the tent."""
