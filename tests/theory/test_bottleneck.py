"""nibkit.bottleneck against closed forms, scipy and itself by another way; bad input is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import entr

from nibkit.theory import bottleneck as ib

COIN = ib.Law([-1.0, 1.0])
EIGHT = ib.Law(np.arange(8.0))
UNEVEN = ib.Law([[0.0, 0.0], [2.0, 0.5], [-1.0, 1.0]], [0.5, 0.3, 0.2])


# --- discrete laws ---


def test_entropy_and_kl_are_scipys():
    p, q = np.random.default_rng(0).dirichlet(np.ones(6), 2)
    assert ib.entropy(p) == pytest.approx(stats.entropy(p), abs=1e-14)
    assert ib.kl(p, q) == pytest.approx(stats.entropy(p, q), abs=1e-14)
    assert ib.entropy([1.0, 0.0]) == 0 and ib.kl([0.5, 0.5], [1.0, 0.0]) == np.inf


def test_mutual_information_of_a_copy_and_of_independence():
    assert ib.mutual_information(np.eye(4) / 4) == pytest.approx(np.log(4))
    assert ib.mutual_information(np.outer([0.2, 0.8], [0.1, 0.6, 0.3])) == pytest.approx(0, abs=1e-15)


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 5))
def test_mutual_information_is_the_sum_of_entropies(seed, rows, columns):
    joint = np.random.default_rng(seed).dirichlet(np.ones(rows * columns)).reshape(rows, columns)
    by_entropy = ib.entropy(joint.sum(0)) + ib.entropy(joint.sum(1)) - ib.entropy(joint)
    assert ib.mutual_information(joint) == pytest.approx(by_entropy, abs=1e-12)


def test_code_information_of_the_identity_is_that_of_the_source():
    joint = np.random.default_rng(0).dirichlet(np.ones(12)).reshape(4, 3)
    about_x, about_y = ib.code_information(joint, np.eye(4))
    assert about_x == pytest.approx(ib.entropy(joint.sum(1))) and about_y == pytest.approx(ib.mutual_information(joint))


def test_blahut_arimoto_is_a_fixed_point_and_meets_the_closed_form():
    flip, beta = 0.1, 0.4
    joint = np.array([[1 - flip, flip], [flip, 1 - flip]]) / 2
    encoder = ib.blahut_arimoto(joint, beta)
    assert np.allclose(encoder.sum(1), 1) and np.allclose(ib.blahut_arimoto(joint, beta, encoder, max_steps=1), encoder)
    h = lambda p: entr(p) + entr(1 - p)
    a = np.linspace(0, 0.5, 20_001)
    best = ((np.log(2) - h(a * (1 - flip) + (1 - a) * flip)) - beta * (np.log(2) - h(a))).max()
    about_x, about_y = ib.code_information(joint, encoder)
    assert about_y - beta * about_x == pytest.approx(best, abs=1e-8)


# --- Gaussians ---


def test_kl_gaussian_takes_numbers_diagonals_and_matrices_alike():
    cov = np.array([[2.0, 0.3], [0.3, 1.0]])
    assert ib.kl_gaussian([1.0, 2.0], cov, [1.0, 2.0], cov) == pytest.approx(0, abs=1e-14)
    by_number = ib.kl_gaussian([1.0, 0.0], 2.0, 0.0, 0.5)
    assert by_number == ib.kl_gaussian([1.0, 0.0], [2.0, 2.0], [0.0, 0.0], np.eye(2) / 2)
    assert by_number == pytest.approx(ib.kl_gaussian(1, 2, 0, 0.5) + ib.kl_gaussian(0, 2, 0, 0.5))


def test_kl_gaussian_is_the_integral():
    p, q = stats.norm(1.0, 0.7), stats.norm(-0.5, 1.3)
    value, _ = integrate.quad(lambda t: p.pdf(t) * (p.logpdf(t) - q.logpdf(t)), -10, 10)
    assert ib.kl_gaussian(1.0, 0.49, -0.5, 1.69) == pytest.approx(value, abs=1e-9)


def test_kl_gaussian_with_full_covariances_is_the_mean_log_ratio():
    p = stats.multivariate_normal([0.5, -0.2], [[1.0, 0.4], [0.4, 0.8]], seed=0)
    q = stats.multivariate_normal([0.0, 0.3], [[1.5, -0.2], [-0.2, 1.1]])
    draws = p.rvs(200_000)
    ratio = p.logpdf(draws) - q.logpdf(draws)
    assert abs(ib.kl_gaussian(p.mean, p.cov, q.mean, q.cov) - ratio.mean()) < 5 * ratio.std() / np.sqrt(len(draws))


def test_information_gaussian_is_rotation_invariant_and_takes_singular_covariances():
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    full = turn @ np.diag([4, 1, 0.25, 0]) @ turn.T
    assert ib.information_gaussian(full, 1.0, 0.5) == pytest.approx(2.5678992, abs=1e-7)
    assert ib.information_gaussian(1.0, 0.0, 0.5) == 0


def test_kl_bound_is_information_plus_divergence_for_a_gaussian():
    lam, sigma = 0.7, 0.5
    divergence = ib.kl_gaussian(0, lam**2 + sigma**2, 0, sigma**2)
    assert ib.kl_bound(ib.gaussian(1.0), lam, sigma) == pytest.approx(ib.information_gaussian(1.0, lam, sigma) + divergence)
    assert ib.kl_bound(ib.gaussian(1.0), 10, 1) == pytest.approx(50)


# --- laws ---


def test_laws_add_and_scale_as_random_vectors_do():
    total = 2.0 * UNEVEN + ib.gaussian(0.5, 2, mean=[1.0, -1.0])
    assert np.allclose(total.mean, 2 * UNEVEN.mean + [1, -1])
    assert np.allclose(total.covariance, 4 * UNEVEN.covariance + 0.25 * np.eye(2))
    assert np.allclose((np.float64(2) * UNEVEN).points, (UNEVEN * 2).points)
    both = COIN + EIGHT
    assert both.points.shape == (16, 1) and both.weights.sum() == pytest.approx(1)


def test_channels_read_as_the_equations():
    noise = ib.gaussian(0.5)
    assert ib.narrow(COIN, 0.3, noise).spread == 0.5 and np.allclose(ib.narrow(COIN, 0.3, noise).points[:, 0], [-0.3, 0.3])
    assert ib.blend(COIN, 0.3, noise).spread == pytest.approx(0.35)
    assert ib.information(COIN, 0.6 / 0.4, 0.5) == pytest.approx(
        ib.differential_entropy(ib.blend(COIN, 0.6, noise)) - ib.differential_entropy(0.4 * noise), abs=1e-10
    )


@pytest.mark.parametrize("law", [stats.expon(), stats.laplace(), stats.t(4)], ids=["exponential", "Laplace", "t4"])
def test_from_density_keeps_the_variance(law):
    low = -200 if law.support()[0] < 0 else 0
    edges = [e for e in (-200, -50, -10, -3, 0, 3, 10, 50, 200) if e >= low]
    assert ib.from_density(law.pdf, edges).covariance[0, 0] == pytest.approx(law.var(), rel=1e-3)


# --- quadrature ---


def test_differential_entropy_is_scipys():
    assert ib.differential_entropy(ib.gaussian(0.3)) == pytest.approx(stats.norm(0, 0.3).entropy(), abs=1e-12)
    assert ib.differential_entropy(ib.gaussian(2.0, 2)) == pytest.approx(2 * stats.norm(0, 2.0).entropy(), abs=1e-12)
    mixture = lambda t: 0.3 * stats.norm.pdf(t, -1, 0.4) + 0.7 * stats.norm.pdf(t, 1.5, 0.4)
    value, _ = integrate.quad(lambda t: entr(mixture(t)), -6, 7, limit=200)
    assert ib.differential_entropy(ib.Law([-1, 1.5], [0.3, 0.7], 0.4)) == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_information_of_gaussians_is_the_closed_form(lam):
    assert ib.information(ib.gaussian(2.0), lam, 0.5) == pytest.approx(ib.information_gaussian(4.0, lam, 0.5), abs=1e-12)
    in_plane = ib.information(ib.gaussian(2.0, 2), lam, 0.5)
    assert in_plane == pytest.approx(ib.information_gaussian([4.0, 4.0], lam, 0.5), abs=1e-12)


def test_information_figures():
    assert ib.information(COIN, 1, 0.5) == pytest.approx(0.6327202, abs=1e-7)
    found = [ib.information(EIGHT, lam, 0.01) for lam in (1, 0.25, 0.05, 0.01)]
    assert np.allclose(found, [2.0794, 2.0794, 2.0493, 0.8767], atol=1e-4)


def test_the_plane_agrees_with_the_line():
    flat = ib.Law(np.c_[np.arange(4.0), np.zeros(4)])
    assert ib.information(flat, 0.4, 0.5) == pytest.approx(ib.information(ib.Law(np.arange(4.0)), 0.4, 0.5), abs=1e-9)
    assert ib.mmse(flat, 0.4, 0.5) == pytest.approx(ib.mmse(ib.Law(np.arange(4.0)), 0.4, 0.5), abs=1e-9)


def test_the_step_does_not_matter():
    assert ib.information(EIGHT, 0.5, 0.5, step=0.05) == pytest.approx(ib.information(EIGHT, 0.5, 0.5, step=0.2), abs=1e-9)


@pytest.mark.parametrize("law", [COIN, EIGHT, UNEVEN], ids=["coin", "eight", "plane"])
def test_pointwise_information_averages_to_information(law):
    assert law.weights @ ib.pointwise_information(law, 0.6, 0.5) == pytest.approx(ib.information(law, 0.6, 0.5), abs=1e-10)


def test_mmse_of_a_gaussian_and_of_a_coin():
    assert ib.mmse(ib.gaussian(2.0), 0.7, 0.5) == pytest.approx(1 / (1 / 4 + 0.7**2 / 0.5**2))
    snr = (0.5 / 0.5) ** 2  # z = ±1: mmse = 1 − E tanh(snr + √snr·n)
    value, _ = integrate.quad(lambda t: stats.norm.pdf(t) * np.tanh(snr + np.sqrt(snr) * t), -9, 9)
    assert ib.mmse(COIN, 0.5, 0.5) == pytest.approx(1 - value, abs=1e-9)


@pytest.mark.parametrize("law", [COIN, UNEVEN, ib.Law([-2.0, 1.0], [0.3, 0.7], spread=0.4)], ids=["coin", "plane", "humps"])
def test_the_rate_is_the_slope(law):
    slope = (ib.information(law, 0.5 + 1e-4, 0.5) - ib.information(law, 0.5 - 1e-4, 0.5)) / 2e-4
    assert ib.information_rate(law, 0.5, 0.5) == pytest.approx(slope, abs=1e-6)


# --- Monte Carlo ---


@pytest.mark.parametrize("law", [COIN, UNEVEN, ib.Law([-2.0, 1.0], [0.3, 0.7], spread=0.4)], ids=["coin", "plane", "humps"])
def test_monte_carlo_agrees_with_quadrature_and_leaves_the_global_state_alone(law):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    value, error = ib.information_monte_carlo(law, 0.6, 0.5, samples=20_000, seed=2)
    assert abs(value - ib.information(law, 0.6, 0.5)) < 4 * error < 0.05
    assert (np.random.get_state()[1] == before).all()
    assert ib.information_monte_carlo(law, 0.6, 0.5, samples=20_000, seed=2) == (value, error)


def test_monte_carlo_in_many_dimensions_is_bounded_by_the_entropy():
    points = 50 * np.random.default_rng(0).standard_normal((16, 2000))
    assert ib.information_monte_carlo(ib.Law(points), 1.0, 1.0, samples=100)[0] == pytest.approx(np.log(16), abs=1e-9)
    assert ib.information_monte_carlo(ib.Law(points), 0.0, 1.0, samples=100)[0] == pytest.approx(0, abs=1e-12)


def test_draws_average_to_the_estimate_and_their_difference_is_surer():
    wide, narrow = (ib.information_draws(EIGHT, lam, 0.5, samples=4000, seed=1) for lam in (0.55, 0.5))
    value, error = ib.information_monte_carlo(EIGHT, 0.5, 0.5, samples=4000, seed=1)
    assert narrow.shape == (4000,) and narrow.mean() == pytest.approx(value) and narrow.std(ddof=1) / 4000**0.5 == error
    growth, sure = (wide - narrow).mean(), (wide - narrow).std(ddof=1) / 4000**0.5
    assert abs(growth - ib.information(EIGHT, 0.55, 0.5) + ib.information(EIGHT, 0.5, 0.5)) < 4 * sure < error


# --- bad input ---

BAD = {
    "p must be prob": lambda: ib.entropy([1.2, -0.2]),
    "p sums to 0.9": lambda: ib.entropy([0.5, 0.4]),
    "one shape": lambda: ib.kl([0.5, 0.5], [1.0]),
    "a table": lambda: ib.mutual_information([0.5, 0.5]),
    "encoder must be": lambda: ib.code_information(np.eye(2) / 2, np.ones((2, 2))),
    "row without probability": lambda: ib.blahut_arimoto([[1.0, 0.0], [0.0, 0.0]], 0.1),
    "beta must be": lambda: ib.blahut_arimoto(np.eye(2) / 2, 0.0),
    "points must be": lambda: ib.Law([np.nan]),
    "weights must be": lambda: ib.Law([0.0, 1.0], [1.0]),
    "weights sums to": lambda: ib.Law([0.0, 1.0], [0.5, 0.6]),
    "spread must be": lambda: ib.Law([0.0], spread=-1),
    "can't be added": lambda: COIN + UNEVEN,
    "edges must ascend": lambda: ib.from_density(stats.norm.pdf, [1, 0]),
    "widen the edges": lambda: ib.from_density(stats.norm.pdf, [0, 1]),
    "sigma must be": lambda: ib.information(COIN, 1.0, 0.0),
    "lam must be": lambda: ib.information(COIN, -0.1, 0.5),
    "within 0 … 1": lambda: ib.blend(COIN, 1.1, ib.gaussian(1.0)),
    "positive definite": lambda: ib.kl_gaussian(0, 0.0, 0, 1.0),
    "positive semidefinite": lambda: ib.information_gaussian(-1.0, 1.0, 1.0),
    "cov must be symmetric": lambda: ib.information_gaussian([[1.0, 0.5], [0.0, 1.0]], 1.0, 1.0),
    "the means have": lambda: ib.kl_gaussian([0.0, 0.0], np.eye(3), 0.0, np.eye(3)),
    "no spread": lambda: ib.differential_entropy(COIN),
    "one or two dimensions": lambda: ib.information(ib.Law(np.eye(3)), 1.0, 1.0),
    "too large": lambda: ib.information(EIGHT, 1.0, 1e-9),
    "atoms only": lambda: ib.pointwise_information(ib.gaussian(1.0), 1.0, 1.0),
    "samples must be a whole number, 2 or more": lambda: ib.information_monte_carlo(COIN, 1.0, 1.0, samples=1),
    "samples must be a whole number, 1 or more": lambda: ib.information_draws(COIN, 1.0, 1.0, samples=0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_named(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
