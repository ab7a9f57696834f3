"""Hidden tests of notebook 01. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_a_noisy_typewriter(typewriter):
    """Small keyboards, written down by hand, and an odd one."""
    import numpy as np

    hand = {3: [[1, 1, 0], [0, 1, 1], [1, 0, 1]], 2: [[1, 1], [1, 1]]}
    for n, counts in hand.items():
        assert np.allclose(typewriter(n), np.array(counts) / (2 * n)), f"{n} letters: {counts} over {2 * n}"
    table = np.asarray(typewriter(29))
    assert table.shape == (29, 29), "29 letters need 29 rows and columns"
    for i, j in np.ndindex(table.shape):
        wanted = 1 / 58 if j in (i, (i + 1) % 29) else 0
        assert abs(table[i, j] - wanted) < 1e-12, f"29 letters: p({i}, {j}) is {wanted}, not {table[i, j]}"


def hidden_two_readings(two_readings):
    """The information of a coin in Gaussian noise, by an integral of its own."""
    import numpy as np

    noise = np.linspace(-9, 9, 20_001)
    weight = np.exp(-(noise**2) / 2) / np.sqrt(2 * np.pi) * (noise[1] - noise[0])
    for sigma in (0.35, 0.8, 1.5, 4.0):
        s = sigma / np.sqrt(2)  # of the mean of the two readings
        wanted = np.log(2) - (weight * np.logaddexp(0, -2 * (1 + s * noise) / s**2)).sum()
        found = float(two_readings(sigma))
        assert abs(found - wanted) < 1e-5, f"σ = {sigma}: the pair tells {wanted:.5f} nats, not {found:.5f}"


def hidden_where_a_code_opens(opening):
    """Closed forms, and the second eigenvalue of going from X to Y and back, on tables with more rows than two."""
    import numpy as np

    for wrong in (0.05, 0.3):
        channel = np.array([[1 - wrong, wrong], [wrong, 1 - wrong]]) / 2
        assert np.isclose(opening(channel), (1 - 2 * wrong) ** 2), f"a bit that is wrong in {wrong:.0%}: (1 − 2 · {wrong})²"
    assert np.isclose(opening(np.diag([0.5, 0.3, 0.2])), 1), "where Y is X the code opens at 1"
    rng = np.random.default_rng(5)
    for rows, columns in ((3, 3), (4, 3), (3, 5)):
        table = rng.dirichlet(np.full(rows * columns, 0.7)).reshape(rows, columns)
        there, back = table / table.sum(1, keepdims=True), (table / table.sum(0)).T
        wanted = np.sort(np.linalg.eigvals(there @ back).real)[-2]
        found = float(opening(table))
        assert abs(found - wanted) < 1e-9, f"{rows} by {columns}: ρ² is {wanted:.5f}, not {found:.5f}"
