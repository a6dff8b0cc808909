"""Everything that a person types or reads on the unit."""
