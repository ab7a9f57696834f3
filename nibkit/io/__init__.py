"""Files that are written and standard streams that are printed to, whatever state they are in. Floor 2: imports floor 1 alone."""
