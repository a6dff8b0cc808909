"""What changes the configuration: setup, calibrate, prepared cards."""
