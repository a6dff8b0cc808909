"""What the unit has recorded: visitor log, export, support bundle."""
