"""Pairs of picture and caption: synthetic scenes with masks, and data sets on disk. Floor 3: imports floors 1 and 2."""
