"""What is connected where; only setup uses it."""
