"""What the course asserts and what the paper prints: claims and tables. Floor 2: imports floor 1 alone."""
