"""Figures and the explorer. Floor 4: imports floors 1 to 3."""
