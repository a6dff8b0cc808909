"""What a person watches: `status` and `watch`."""
