"""Hidden tests of notebook 02. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_the_divergence_of_eq_2_with_another_noise(divergence_general):
    """The divergence of two normal laws, written out; several elements at once, and far from the check's."""
    from math import log

    import torch

    cases = [(3.0, 0.5, 1.0, 2.0), (40.0, 0.99, -5.0, 30.0), (-7.0, 0.2, 0.0, 0.05), (1.0, 0.0, 4.0, 9.0), (2.0, 0.7, 2.0, 3.0)]
    z, lam, mu, sigma = torch.tensor(cases, dtype=torch.float64).T
    found = divergence_general(z, lam, mu, sigma).tolist()
    for (z, lam, mu, sigma), value in zip(cases, found):
        shift, keep = lam * (z - mu) / sigma, 1 - lam  # in units of σ
        wanted = (keep**2 + shift**2 - 1) / 2 - log(keep)
        assert abs(value - wanted) < 1e-9 * max(1, wanted), f"z = {z}, λ = {lam}, μ = {mu}, σ = {sigma}: {wanted}, not {value}"


def hidden_does_patience_cure_indirectness(steps_needed, squeeze, score):
    """Other inputs: the ignored elements exchanged, the used ones unlike. All powers of two are tried from the first."""
    import torch

    for values in ([1.0, 1.0, 2.0, 3e4], [2.0, 0.5, 100.0, 1.0], [0.5, 2.0, 30.0, 60.0], [1.0, 2.0, 0.0, 0.0]):
        z = torch.tensor(values)
        for steps in (2**power for power in range(12)):
            *used, one, other = squeeze(z, score, num_steps=steps, draws=50).tolist()
            if max(one, other) < min(used):
                break
        found = steps_needed(z)
        assert found == steps, f"{values}: after {steps} steps both ignored ones are behind, not after {found}"


def hidden_a_floor_under_i_z_y(barber_agakov):
    """By hand; square tables too, whose rows and columns can be mistaken for each other."""
    from math import log

    import numpy as np

    joint, q = np.array([[0.25, 0.25], [0.0, 0.5]]), np.array([[0.5, 0.25], [0.5, 0.75]])
    wanted = log(2) + 0.25 * log(0.5) + 0.25 * log(0.25) + 0.5 * log(0.75)
    found = float(barber_agakov(joint, q))
    assert abs(found - wanted) < 1e-9, f"log 2 + ¼ log ½ + ¼ log ¼ + ½ log ¾ = {wanted:.4f}, not {found:.4f}"
    rng = np.random.default_rng(12)
    for rows, columns in ((3, 3), (5, 2), (2, 7)):
        joint = rng.dirichlet(np.ones(rows * columns)).reshape(rows, columns)
        q = rng.dirichlet(np.ones(rows), columns).T
        wanted = sum(joint[y, z] * log(q[y, z]) for y in range(rows) for z in range(columns))
        wanted -= sum(sum(row) * log(sum(row)) for row in joint.tolist())
        found = float(barber_agakov(joint, q))
        assert abs(found - wanted) < 1e-9, f"{rows} by {columns}: H(Y) + E log q = {wanted:.4f}, not {found:.4f}"
