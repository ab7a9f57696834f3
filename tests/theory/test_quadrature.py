"""Nodes and weights: exactness orders, limits, and adaptive panels that stop in time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nibkit.theory.quadrature import RULES, SINH_SCALE, Panels, check_rule, nodes

FIXED = [rule for rule in RULES if rule != "adaptive"]
STARTS = [0.0, 0.05, 0.5]


def integral(rule, n, g, start=None) -> float:
    lam, weights = nodes(rule, n, start)
    return float(np.sum(weights * g(lam)))


def power(p: float, start: float = 0.0) -> float:
    """∫ λ^p dλ over [start, 1]."""
    return (1 - start ** (p + 1)) / (p + 1)


# --- nodes and weights ------------------------------------------------------------------------------------------------


@given(st.sampled_from(FIXED), st.integers(1, 40), st.sampled_from([None, 0.01, 0.3, 0.9]))
def test_nodes_lie_in_the_interval_ascending_and_weights_are_positive(rule, n, start):
    lam, weights = nodes(rule, n, start)
    begin = check_rule(rule, n, start)
    assert lam.dtype == weights.dtype == np.float64 and lam.shape == weights.shape == (n,)
    assert begin <= lam[0] and lam[-1] <= 1 and (np.diff(lam) > 0).all() and (weights > 0).all()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 64, 1000])
@pytest.mark.parametrize("rule", ["riemann", "midpoint", "gauss"])
def test_weights_sum_to_the_interval(rule, n, start):
    assert nodes(rule, n, start)[1].sum() == pytest.approx(1 - start, rel=1e-13)


@pytest.mark.parametrize(
    "rule, n, tolerance", [("log-gauss", 4, 1e-4), ("log-gauss", 10, 1e-9), ("sinh", 64, 1e-2), ("sinh", 512, 1e-4)]
)
def test_weights_sum_to_the_interval_in_the_limit(rule, n, tolerance):
    begin = check_rule(rule, n, None)
    assert nodes(rule, n)[1].sum() == pytest.approx(1 - begin, rel=tolerance)
    assert abs(nodes(rule, 3)[1].sum() - (1 - begin)) > tolerance  # and not before


def test_riemann_is_the_papers_rule():
    """λ_k = k/n, weight 1/n (§5.2)."""
    lam, weights = nodes("riemann", 10)
    assert np.allclose(lam, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], atol=1e-15) and (weights == 0.1).all()


def test_riemann_is_not_exact_even_for_a_straight_line():
    """Its error for g = λ is half a step."""
    assert integral("riemann", 10, lambda x: x) - 0.5 == pytest.approx(0.05, abs=1e-14)


@pytest.mark.parametrize("start", STARTS)
def test_midpoint_is_exact_for_a_straight_line_and_no_further(start):
    assert integral("midpoint", 3, lambda x: 2 - x, start) == pytest.approx(2 * power(0, start) - power(1, start), abs=1e-14)
    assert abs(integral("midpoint", 3, lambda x: x**2, start) - power(2, start)) > 1e-4


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_gauss_is_exact_up_to_twice_its_nodes(n, start):
    for p in range(2 * n):
        assert integral("gauss", n, lambda x, p=p: x**p, start) == pytest.approx(power(p, start), abs=1e-14)
    if n < 5:  # beyond, the error is below what one could see
        assert abs(integral("gauss", n, lambda x: x ** (2 * n), start) - power(2 * n, start)) > 1e-5


@pytest.mark.parametrize("start", [0.05, 0.3])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_log_gauss_is_exact_for_powers_of_log_lambda(n, start):
    """∫ (log λ)^m / λ dλ = −(log start)^(m+1) / (m + 1), for every m up to 2n − 1; not for 2n."""
    for m in range(2 * n + 1):
        exact = -(np.log(start) ** (m + 1)) / (m + 1)
        error = abs(integral("log-gauss", n, lambda x, m=m: np.log(x) ** m / x, start) / exact - 1)
        assert error < 1e-13 if m < 2 * n else error > 1e-6


@pytest.mark.parametrize("p", [-1, -0.5, 0, 1, 3])
def test_log_gauss_converges_for_powers_of_lambda(p):
    """Fast, since λ^p is entire in log λ, and already accurate with the default's ten steps."""
    exact = power(p, 0.05) if p != -1 else -np.log(0.05)
    errors = [abs(integral("log-gauss", n, lambda x: x**p) / exact - 1) for n in (2, 6, 10)]
    assert errors[2] < 1e-6 and (p == -1 or errors[0] > 100 * errors[1] > 100 * errors[2])


def test_sinh_looks_at_every_scale():
    """From below 1e-5 to 1 in 64 steps, about five a decade; the even rules see nothing below a hundredth."""
    lam, _ = nodes("sinh", 64)
    assert lam[0] < SINH_SCALE and lam[-1] > 0.9
    assert all(((low <= lam) & (lam < 10 * low)).sum() >= 9 for low in (1e-5, 1e-4, 1e-3, 1e-2, 0.1))
    assert nodes("midpoint", 64)[0].min() > 5e-3


@pytest.mark.parametrize("width", [1e-3, 3e-3, 0.1])
def test_sinh_catches_a_boundary_layer_that_even_steps_miss(width):
    """F = tanh(λ / width): with 64 steps sinh is complete to 1 %, riemann misses most of a thin layer."""
    slope = lambda x: 1 / (width * np.cosh(x / width) ** 2)  # noqa: E731
    with np.errstate(over="ignore"):
        assert integral("sinh", 64, slope) == pytest.approx(np.tanh(1 / width), abs=0.01)
        if width < 2e-3:
            assert integral("riemann", 64, slope) < 0.1


def test_start_zero_is_the_default_except_where_the_logarithm_has_no_end():
    assert [check_rule(rule, 1, None) for rule in RULES] == [0, 0, 0, 0.05, 0, 0]


@pytest.mark.parametrize("rule", ["simpson", "Riemann", "", None])
def test_unknown_rules_are_refused(rule):
    with pytest.raises(ValueError, match='rule must be "riemann", "midpoint", "gauss", "log-gauss", "sinh" or "adaptive"; got'):
        nodes(rule, 10)


@pytest.mark.parametrize("n", [0, -3, 2.0, "10", None, True])
def test_num_steps_must_be_a_whole_number_from_1(n):
    for rule in RULES:
        with pytest.raises(ValueError, match="num_steps must be a whole number, 1 or more; got"):
            nodes(rule, n)


@pytest.mark.parametrize("start", [-0.1, 1.0, 2, float("nan"), float("inf")])
def test_start_must_lie_in_the_interval(start):
    with pytest.raises(ValueError, match="start must be a finite number within 0 … 1, 1 left out; got"):
        nodes("gauss", 10, start)


def test_log_gauss_cannot_start_at_0():
    with pytest.raises(ValueError, match="can't start at 0.*give a start above 0"):
        nodes("log-gauss", 10, 0)


def test_adaptive_has_no_fixed_nodes():
    with pytest.raises(ValueError, match="adaptive.*depend on the integrand"):
        nodes("adaptive", 10)


# --- adaptive panels --------------------------------------------------------------------------------------------------


def adapt(slope, value, num_steps, start=0.0):
    """Run panels on F with slope F': (total, gradients asked for)."""
    panels, spent = Panels(num_steps, start), 0
    while not panels.done:
        at, ends = panels.wanted()
        spent += len(at)
        panels.accept(slope(at), value(ends))
    return panels.total(), spent


def layer(width, height=1.0):
    """A boundary layer: F = height · tanh(λ / width), as one token's share."""
    with np.errstate(over="ignore"):
        return (
            lambda x: height / (width * np.cosh(np.minimum(x / width, 300)) ** 2)[:, None],
            lambda x: height * np.tanh(x / width),
        )


@pytest.mark.parametrize("width", [1e-4, 1e-3, 1e-2, 1.0])
def test_adaptive_reaches_its_gap_and_then_stops(width):
    """Within a hundredth, far below its bound of 400."""
    slope, value = layer(width)
    total, spent = adapt(slope, value, 400)
    assert abs(total[0] - value(1.0)) <= 0.01 * value(1.0)
    assert spent < 100


@given(st.integers(1, 60), st.sampled_from([1e-4, 1e-2, 3.0]), st.sampled_from([0.0, 0.1]))
def test_adaptive_never_spends_more_than_num_steps(num_steps, width, start):
    assert 0 < adapt(*layer(width), num_steps, start)[1] <= num_steps


@given(st.sampled_from([5, 17, 40]))
def test_adaptive_ends_even_if_nothing_is_ever_good_enough(num_steps):
    """An integrand that is no derivative of F at all: all is spent, nothing more."""
    _, spent = adapt(lambda x: np.ones((len(x), 1)), lambda x: 5 * x, num_steps)
    assert num_steps - 8 < spent <= num_steps


def test_adaptive_is_content_with_a_thousandth():
    """A similarity that hardly changes (1 % of it is below 1e-3) is not chased into the noise."""
    slope, value = layer(1e-3, height=0.01)
    assert adapt(slope, value, 400)[1] < adapt(*layer(1e-3, height=1.0), 400)[1] <= 100


def test_adaptive_starts_where_it_is_told():
    slope, value = layer(0.1)
    total, _ = adapt(slope, value, 200, start=0.05)
    assert total[0] == pytest.approx(value(1.0) - value(0.05), abs=0.01)


def test_adaptive_keeps_tokens_apart():
    """Two tokens, one rising and one falling: each has its own integral, though their sum is 0."""
    panels = Panels(64)
    while not panels.done:
        at, ends = panels.wanted()
        panels.accept(np.stack([np.exp(at), -np.exp(at)], axis=1), np.zeros(len(ends)))
    assert np.allclose(panels.total(), [np.e - 1, 1 - np.e], rtol=1e-2)
