"""The agent: Readings → Tent → store → MQTT, and the technician's command line."""
