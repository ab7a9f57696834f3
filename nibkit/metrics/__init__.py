"""How good a map is, and what it costs. Floor 4: imports floors 1 to 3."""
