"""Drivers: one device in, Readings out. Nothing here depends on MQTT, databases, systemd or the tent."""
