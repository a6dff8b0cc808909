"""The agent: Readings → Tent → store → MQTT."""
