"""A CLIP that can be cut at a layer, and what goes into it. Floor 2: imports floor 1 alone."""
