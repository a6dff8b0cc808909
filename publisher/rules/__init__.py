"""The tent's rules, pure by place: no clock, no file, no thread."""
