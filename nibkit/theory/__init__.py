"""What the notebooks derive, in float64: laws, information, bottlenecks, quadrature. Floor 2: imports floor 1 alone."""
