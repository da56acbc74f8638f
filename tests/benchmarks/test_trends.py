"""Growth: a line that one bad sample cannot bend, and when a rise counts."""

from random import Random

import pytest

from benchmarks.trends import trend


def noise(count, size, seed=1):
    random = Random(seed)
    return [random.gauss(0, size) for _ in range(count)]


def test_slope_of_a_line_is_exact_and_sure():
    line = trend([0, 1, 2, 3], [10, 12, 14, 16])
    assert line.slope == 2
    assert line.surely == 2


def test_one_bad_sample_does_not_bend_the_line():
    ys = [5.0] * 20
    ys[-1] = 5_000.0
    assert trend(list(range(20)), ys).slope == 0


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_growth(seed):
    assert trend(list(range(100)), noise(100, 10, seed)).surely < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_a_rise_above_the_noise_is_growth(seed):
    xs = list(range(100))
    ys = [x * 0.5 + bump for x, bump in zip(xs, noise(100, 5, seed), strict=True)]
    assert 0.3 < trend(xs, ys).surely < trend(xs, ys).slope


def test_what_falls_does_not_grow():
    line = trend([0, 1, 2], [9, 8, 7])
    assert line.slope == -1
    assert line.surely == 0


@pytest.mark.parametrize(("xs", "ys"), [([], []), ([1], [5]), ([2, 2], [1, 9])])
def test_without_two_moments_nothing_grows(xs, ys):
    assert trend(xs, ys).slope == 0
