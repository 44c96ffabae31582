import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from patchdistill.panorama import angular_distance, recursive_walk, tangent_views, to_vectors, trajectories
from patchdistill.panorama.trajectories import neighbors, transition_probabilities, view_entropy

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (32, 64, 3), dtype=np.uint8)


@given(st.floats(-180, 179.999), st.floats(-90, 90))
def test_neighbors_cross_the_poles(lon, lat):
    next_lon, next_lat = neighbors(np.array([lon]), np.array([lat]))
    assert next_lon.shape == next_lat.shape == (1, 8)
    assert (np.abs(next_lat) <= 90).all() and next_lon.min() >= -180 and next_lon.max() < 180
    # The usual formula goes on over a pole by itself.
    offsets = [(i, j) for i in (24, 0, -24) for j in (-24, 0, 24) if (i, j) != (0, 0)]
    phi, theta = np.deg2rad([lat + i for i, _ in offsets]), np.deg2rad([lon + j for _, j in offsets])
    expected = np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], axis=1)
    assert_allclose(to_vectors(next_lon[0], next_lat[0]), expected, atol=1e-9)


def test_neighbors_are_found_for_every_direction():
    lon, lat = np.array([10.0, -170.0, 33.0]), np.array([0.0, 80.0, -70.0])
    together = neighbors(lon, lat)
    for i in range(3):
        assert_array_equal([angles[i : i + 1] for angles in together], neighbors(lon[i : i + 1], lat[i : i + 1]))


def test_entropy_is_that_of_the_histogram():
    views = RNG.integers(0, 256, (5, 12, 9, 3), dtype=np.uint8)
    views[3] = views[3] // 64 * 64
    luma = np.rint(views @ [0.299, 0.587, 0.114]).reshape(5, -1)
    expected = [stats.entropy(np.unique(view, return_counts=True)[1], base=2) for view in luma]
    assert_allclose(view_entropy(views), expected)
    assert_allclose(view_entropy(views / 255), expected)
    assert_allclose(view_entropy((views / 255).astype(np.float32)), expected, atol=0.05)


def test_entropy_is_between_zero_and_eight_bits():
    gray = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert_allclose(view_entropy(np.concatenate([gray, np.full_like(gray, 7), gray // 128])), [8, 0, 1], atol=1e-12)


def test_probabilities_are_in_proportion_to_entropy_prior_and_revisits():
    entropy, lat, visits = RNG.uniform(1, 8, (6, 8)), RNG.uniform(-90, 90, (6, 8)), RNG.integers(0, 4, (6, 8))
    weights = entropy * np.exp(-((lat / 90) ** 2) / (2 * 0.2**2)) * 0.7**visits
    assert_allclose(transition_probabilities(entropy, lat, visits), weights / weights.sum(axis=1, keepdims=True))


def test_flat_views_leave_the_choice_to_the_prior():
    lat, visits = RNG.uniform(-30, 30, (2, 8)), np.zeros((2, 8), int)
    flat = transition_probabilities(np.zeros((2, 8)), lat, visits)
    assert_allclose(flat, transition_probabilities(np.ones((2, 8)), lat, visits))
    entropy = np.array([[0.0, 3.0]])
    assert transition_probabilities(entropy, np.zeros((1, 2)), np.zeros((1, 2), int))[0, 0] < 1e-6


@pytest.mark.parametrize("n_paths", [1, 2, 9])
def test_walks_go_from_neighbor_to_neighbor(n_paths):
    lon, lat = recursive_walk(NOISE, n_paths, 12, 20, random_state=0)
    assert lon.shape == lat.shape == (n_paths, 12)
    assert_array_equal(lat[:, 0], 0)
    assert_allclose(np.diff(lon[:, 0], append=lon[0, 0] + 360), 360 / n_paths)
    assert lon[:, 0].mean() == pytest.approx(0)
    for step in range(11):
        next_lon, next_lat = neighbors(lon[:, step], lat[:, step])
        distances = angular_distance(next_lon, next_lat, lon[:, step + 1, None], lat[:, step + 1, None])
        assert_allclose(distances.min(axis=1), 0, atol=1e-6)


def test_walks_belong_to_the_seed():
    first = recursive_walk(NOISE, 9, 12, 20, random_state=0)
    assert_array_equal(recursive_walk(NOISE, 9, 12, 20, random_state=0), first)
    assert (recursive_walk(NOISE, 9, 12, 20, random_state=1)[0] != first[0]).any()
    shorter = recursive_walk(NOISE, 9, 7, 20, random_state=0)
    assert_array_equal(shorter, [angles[:, :7] for angles in first])
    assert_array_equal(recursive_walk(NOISE / 255, 9, 12, 20, random_state=0)[0][:, 0], first[0][:, 0])


def test_neighbors_are_taken_as_often_as_they_should(monkeypatch):
    p = np.arange(1, 9) / 36
    monkeypatch.setattr(trajectories, "tangent_views", lambda panorama, lon, lat, fov, size: lon)
    monkeypatch.setattr(trajectories, "view_entropy", lambda views: np.ones(len(views)))
    monkeypatch.setattr(trajectories, "transition_probabilities", lambda entropy, lat, _: np.tile(p, (len(lat), 1)))
    n = 20000
    lon, lat = recursive_walk(None, n, 2, random_state=0)
    next_lon, next_lat = neighbors(lon[:, 0], lat[:, 0])
    taken = (next_lon == lon[:, 1:]) & (next_lat == lat[:, 1:])
    assert (taken.sum(axis=1) == 1).all()
    assert stats.chisquare(taken.sum(axis=0), n * p).pvalue > 0.01


def test_views_prior_and_visits_are_those_of_the_neighbors(monkeypatch):
    calls = []

    def recording(entropy, lat, visits):
        calls.append((entropy, lat, visits))
        return np.full(lat.shape, 1 / 8)  # over the poles too, where neighbors are close

    monkeypatch.setattr(trajectories, "transition_probabilities", recording)
    lon, lat = recursive_walk(NOISE, 3, 30, 25.0, random_state=0)
    for step, (entropy, latitudes, visits) in enumerate(calls):
        next_lon, next_lat = neighbors(lon[:, step], lat[:, step])
        assert_array_equal(latitudes, next_lat)
        views = tangent_views(NOISE, next_lon.ravel(), next_lat.ravel(), 25.0, 32)
        assert_array_equal(entropy, view_entropy(views).reshape(3, 8))
        for path, k in np.ndindex(3, 8):
            seen = [
                angular_distance(next_lon[path, k], next_lat[path, k], lon[path, t], lat[path, t]) <= 12
                for t in range(step + 1)
            ]
            assert visits[path, k] == sum(seen)
    assert max(visits.max() for *_, visits in calls) > 1


def test_paths_do_not_enter_what_is_flat():
    panorama = RNG.random((64, 128, 3))
    panorama[:, :64] = 0.5  # the left hemisphere
    lon, lat = recursive_walk(panorama, 4, 30, 20, random_state=0)
    entropy = view_entropy(tangent_views(panorama, lon.ravel(), lat.ravel(), 20, 32)).reshape(lon.shape)
    assert (entropy[2:] > 0).all()  # those that start where there is something to see
    assert np.abs(lat).max() > 0


def test_real_panoramas_are_walked_near_the_equator(data_dir):
    from patchdistill.images import read_image

    panorama = read_image(data_dir / "panoramas" / "cafe.jpg")
    lon, lat = recursive_walk(panorama, 9, 20, 11.25, random_state=0)
    assert 10 < lat.std() < 25  # the prior's is 18 degrees
    assert len(np.unique(np.stack([lon, lat]).reshape(2, -1).round(3), axis=1).T) > 60
