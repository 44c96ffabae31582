import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest, kurtosis

from patchdistill.datasets import make_cviq_like, make_panoramas, read_cviq
from patchdistill.datasets.synthetic import draw_radii, draw_texture, front_leaves


@pytest.fixture(scope="module")
def scenes():
    return make_panoramas(6, 128, random_state=3).astype(float)


def directions(height):
    latitude = np.deg2rad(90 - (np.arange(height) + 0.5) * 180 / height)[:, None]
    longitude = np.deg2rad((np.arange(2 * height) + 0.5) * 180 / height - 180)
    return unit(np.broadcast_to(latitude, (height, 2 * height)), longitude)


def unit(latitude, longitude):
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude) + 0 * longitude], axis=-1)


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 8, 17]))
def test_the_first_leaf_that_holds_a_point_is_seen_there(seed, height):
    """Point by point: a leaf holds what is nearer to its center than its radius."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    latitude, longitude = np.arcsin(rng.uniform(-1, 1, n)), rng.uniform(-np.pi, np.pi, n)
    radius = rng.choice([0.05, 0.3, 1.0, 2.0, 3.1, 4.0], n) * rng.uniform(0.9, 1, n)
    angle = np.arccos(np.clip(directions(height) @ unit(latitude, longitude).T, -1, 1))
    holds = np.append(angle <= radius, np.ones((height, 2 * height, 1), dtype=bool), axis=-1)
    expected = holds.argmax(axis=-1)
    expected[expected == n] = -1
    assert_array_equal(front_leaves(latitude, longitude, radius, height), expected)


def test_leaves_lie_in_the_order_given():
    seen = front_leaves([0, 0], [0, 0], [0.5, 1.0], 32)
    assert (seen[16, 32], seen[16, 40]) == (0, 1)
    assert not (front_leaves([0, 0], [0, 0], [1.0, 0.5], 32) == 1).any()


def test_area_of_a_leaf_is_that_of_a_cap_everywhere():
    height = 400
    weight = np.broadcast_to(directions(height)[..., 2], (height, 2 * height))
    weight = np.sqrt(1 - weight**2)
    for latitude in np.deg2rad([0, 30, 60, 80, 90, -75]):
        seen = front_leaves([latitude], [np.pi], [0.4], height) == 0
        assert_allclose(weight[seen].sum() / weight.sum(), (1 - np.cos(0.4)) / 2, rtol=0.01)


def test_radii_follow_the_third_power():
    radii = draw_radii(20000, np.random.RandomState(0))
    low, high = 0.02, 1.0
    assert low <= radii.min() and radii.max() <= high

    def distribution(r):
        return (low**-2 - r**-2) / (low**-2 - high**-2)

    assert kstest(radii, distribution).pvalue > 0.01


def test_texture_is_the_same_kind_of_noise_in_all_directions():
    vectors = directions(256)
    octant = (vectors > 0) @ [1, 2, 4]
    for seed in range(3):
        texture = draw_texture(vectors, np.random.RandomState(seed))
        for i in range(8):
            assert abs(texture[octant == i].mean()) < 0.4
            assert 0.7 < texture[octant == i].std() < 1.5


def test_leaves_are_spread_evenly_over_the_sphere(monkeypatch):
    import patchdistill.datasets.synthetic as synthetic

    drawn = []
    monkeypatch.setattr(synthetic, "front_leaves", lambda *leaves: drawn.append(leaves) or front_leaves(*leaves))
    make_panoramas(1, 8)
    latitude, longitude, radius, _ = drawn[0]
    assert kstest(np.sin(latitude), "uniform", (-1, 2)).pvalue > 0.01
    assert kstest(longitude, "uniform", (-np.pi, 2 * np.pi)).pvalue > 0.01
    assert radius[-1] >= np.pi and (radius[:-1] <= 1).all()


def test_are_uint8_of_the_size_asked_for():
    images = make_panoramas(2, 20)
    assert images.dtype == np.uint8 and images.shape == (2, 20, 40, 3)
    assert images.std() > 30 and (images == 0).mean() < 0.1 and (images == 255).mean() < 0.1


def test_same_seed_same_bytes():
    first = make_panoramas(3, 24, random_state=5)
    assert first.tobytes() == make_panoramas(3, 24, random_state=5).tobytes()
    assert first.tobytes() == make_panoramas(3, 24, random_state=np.random.RandomState(5)).tobytes()
    assert_array_equal(make_panoramas(2, 24, random_state=5), first[:2])
    assert (make_panoramas(1, 24, random_state=6) != first[:1]).mean() > 0.5
    assert (first[0] != first[1]).mean() > 0.5


def test_a_scene_does_not_depend_on_its_size():
    """Blocks of three pixels have the center of the large pixel in their middle."""
    assert_allclose(make_panoramas(1, 96)[0, 1::3, 1::3], make_panoramas(1, 32)[0], atol=1)


def test_the_seam_is_like_any_other_place(scenes):
    gray = scenes.mean(axis=-1)
    seam = np.abs(gray[:, :, 0] - gray[:, :, -1]).mean()
    inside = np.abs(np.diff(gray, axis=2)).mean(axis=(0, 1))
    assert inside.min() < seam < inside.max()
    assert abs(seam - inside.mean()) < 4 * inside.std()


def test_rows_next_to_the_poles_hold_little(scenes):
    middle = scenes[:, 62:66].std(axis=2).mean()
    for row in (0, -1):
        assert scenes[:, row].std(axis=1).mean() < middle / 3


def test_the_point_opposite_over_a_pole_is_a_neighbor(scenes):
    for row in (0, -1):
        opposite = np.abs(scenes[:, row] - np.roll(scenes[:, row], 128, axis=1)).mean()
        far = np.abs(scenes[:, row] - scenes[:, 64]).mean()
        assert opposite < far / 2


def test_gradients_have_heavy_tails(scenes):
    gray = scenes.mean(axis=-1)[:, 32:96]
    for axis in (1, 2):
        assert kurtosis(np.diff(gray, axis=axis), axis=None, fisher=False) > 5


def test_power_falls_with_the_square_of_frequency():
    """About 2 in photographs. Measured round the equator, where pixels are nearly square."""
    gray = make_panoramas(3, 256, random_state=1).mean(axis=-1)[:, 96:160]
    power = (np.abs(np.fft.rfft(gray - gray.mean(axis=(1, 2), keepdims=True), axis=2)) ** 2).mean(axis=(0, 1))
    frequency = np.arange(4, 64)
    slope = np.polyfit(np.log(frequency), np.log(power[frequency]), 1)[0]
    # Along a line the power of an isotropic picture falls with one power less.
    assert 1.5 < 1 - slope < 3


@pytest.mark.parametrize("arguments", [{"n_scenes": 0}, {"height": 1}])
def test_refuses_sizes_that_are_too_small(arguments):
    with pytest.raises(ValueError, match="n_scenes must be at least 1 and height at least 2; got"):
        make_panoramas(**arguments)


@pytest.fixture(scope="module")
def imitation(tmp_path_factory):
    root = tmp_path_factory.mktemp("cviq") / "like"
    make_cviq_like(root, n_scenes=2, height=48, random_state=1)
    return read_cviq(root)


def test_imitation_has_the_layout_of_cviq(imitation):
    pillow = pytest.importorskip("PIL.Image")
    assert len(imitation) == 68
    assert imitation.groupby(["scene", "distortion"]).size().unstack().to_numpy().tolist() == [[11, 11, 11, 1]] * 2
    scenes = make_panoramas(2, 48, random_state=1)
    for i, row in enumerate(imitation.query("level == 0").itertuples()):
        assert_array_equal(np.asarray(pillow.open(row.image)), scenes[i])


def test_scores_of_the_imitation_fall_with_the_level(imitation):
    distorted = imitation.query("level > 0").sort_values("level", kind="stable")
    for _, ladder in distorted.groupby(["scene", "distortion"]):
        assert (np.diff(ladder["mos"]) <= 0).all()
        assert ladder["mos"].iloc[-1] < ladder["mos"].iloc[0] - 10
    assert (imitation.query("level == 0")["mos"] == 77).all()
    assert imitation["mos"].min() > 16 and distorted["mos"].max() < 77


def test_scores_of_the_imitation_rise_with_weighted_psnr(imitation):
    pillow = pytest.importorskip("PIL.Image")
    errors = []
    for row in imitation.query("level > 0").itertuples():
        difference = np.asarray(pillow.open(row.image)).astype(float) - np.asarray(pillow.open(row.reference))
        solid_angle = -np.diff(np.cos(np.linspace(0, np.pi, 49)))
        errors.append((difference**2).mean(axis=(1, 2)) @ solid_angle / solid_angle.sum())
    mos = imitation.query("level > 0")["mos"].to_numpy()
    assert_array_equal(np.argsort(-np.array(errors), kind="stable"), np.argsort(mos, kind="stable"))


def test_imitation_refuses_small_pictures(tmp_path):
    with pytest.raises(ValueError, match="height=8 is too small for the codecs; use at least 16"):
        make_cviq_like(tmp_path / "x", height=8)
    assert not (tmp_path / "x").exists()
