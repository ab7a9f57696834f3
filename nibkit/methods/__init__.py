"""Attribution methods: NIB, those that it is compared with, and controls. Floor 3: imports floors 1 and 2."""
