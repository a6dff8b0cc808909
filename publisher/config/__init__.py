"""The configuration: its sections, and how the file is read and checked."""
