"""What a person watches: status, watch, the demonstration."""
