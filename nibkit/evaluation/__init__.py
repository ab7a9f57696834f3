"""Methods × pairs × metrics: run, stored, summed up, reported. Floor 5: imports floors 1 to 4."""
