"""Simulated devices for the real drivers: registers, a serial line, pins, and a world behind them."""
