"""Simulated devices for the real drivers (registers, serial lines, pins), and the world that moves them."""
