"""The unit's own computer: supply, heat, disk, lamp, button, the last hour, the state directory."""
