import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from patchdistill.datasets import dead_leaves
from patchdistill.images import list_images, read_image
from patchdistill.relational import ClassicalRelationalMap, DistortionEngine, classical, tiles
from patchdistill.relational.channels import CORE6
from patchdistill.relational.content import draw_content
from patchdistill.relational.features import EVEN, ODD, cell_mean, pair_features, wide

PRETRAINED = ClassicalRelationalMap.pretrained()
SMALL = dict(n_pairs=4, size=40, random_state=0)
NOISE = DistortionEngine(["noise", "exposure"], random_state=0)


@pytest.fixture(scope="module")
def fitted():
    return ClassicalRelationalMap(NOISE, **SMALL).fit()


@st.composite
def pairs(draw):
    height, width = draw(st.integers(32, 60)), draw(st.integers(32, 60))

    def version():
        rng = np.random.default_rng(draw(st.integers(0, 1000)))
        kind = draw(st.sampled_from(["noise", "bytes", "flat", "extreme"]))
        if kind == "bytes":
            return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if kind == "flat":
            return np.full((height, width, 3), draw(st.sampled_from([0.0, 1.0, 0.3])), dtype=np.float32)
        values = rng.random((height, width, 3)) if kind == "noise" else rng.integers(0, 2, (height, width, 3))
        return values.astype(draw(st.sampled_from([np.float32, np.float64])))

    return version(), version(), draw(st.sampled_from(["flat", "panorama"]))


# Symmetries


@given(pair=pairs())
@settings(max_examples=30)
def test_exactly_antisymmetric_and_exactly_zero_between_equal_pictures(pair):
    a, b, geometry = pair
    change = PRETRAINED.predict_map(a, b, geometry)
    assert change.shape == (6, -(-a.shape[0] // 8), -(-a.shape[1] // 8)) and change.dtype == np.float32
    assert np.isfinite(change).all() and np.abs(change).max() <= 1
    assert_array_equal(PRETRAINED.predict_map(b, a, geometry), -change)
    assert_array_equal(PRETRAINED.predict_map(a, a, geometry), 0)


@given(values=hnp.arrays(np.float32, (2, 32, 33, 3), elements=st.floats(0, 1, width=32)))
@settings(max_examples=10)
def test_so_for_any_values(values):
    a, b = values
    assert_array_equal(PRETRAINED.predict_map(a, b), -PRETRAINED.predict_map(b, a))
    assert_array_equal(PRETRAINED.predict_map(b, b), 0)


@pytest.mark.parametrize("geometry", ["flat", "panorama"])
def test_tiles_are_not_seen(monkeypatch, geometry):
    ref = dead_leaves(70, 330)
    a, _, _ = DistortionEngine(random_state=1).replay(ref, DistortionEngine(random_state=1).sample(ref).ops_a)
    whole = PRETRAINED.predict_map(a, ref, geometry)
    monkeypatch.setattr(tiles, "_TILE", 20)
    tiled = PRETRAINED.predict_map(a, ref, geometry)
    assert_allclose(tiled, whole, atol=2e-6)
    assert_array_equal(PRETRAINED.predict_map(ref, a, geometry), -tiled)
    assert_array_equal(PRETRAINED.predict_map(ref, ref, geometry), 0)
    assert_array_equal(clone_with_jobs(2).predict_map(a, ref, geometry), tiled)


def clone_with_jobs(n_jobs):
    model = ClassicalRelationalMap.pretrained()
    return model.set_params(n_jobs=n_jobs)


def test_panoramas_turn_with_their_maps():
    ref = dead_leaves(64, 128)
    a = DistortionEngine(random_state=1).sample(ref, 1).a
    change = PRETRAINED.predict_map(a, ref, "panorama")
    turned = PRETRAINED.predict_map(np.roll(a, 40, axis=1), np.roll(ref, 40, axis=1), "panorama")
    assert_array_equal(turned, np.roll(change, 5, axis=2))
    flat = PRETRAINED.predict_map(np.roll(a, 40, axis=1), np.roll(ref, 40, axis=1))
    assert np.abs(flat - np.roll(PRETRAINED.predict_map(a, ref), 5, axis=2)).max() > 0.01


def test_inputs_are_not_written():
    a, ref = (np.random.default_rng(seed).random((40, 48, 3)) for seed in (0, 1))
    before = a.copy(), ref.copy()
    for array in (a, ref):
        array.setflags(write=False)
    PRETRAINED.predict_map(a, ref)
    assert_array_equal((a, ref), before)


# What is learned


def test_fit_is_the_ridge_regression_of_scikit_learn(fitted):
    seeds = np.random.RandomState(0).randint(2**31, size=4)
    odd, even, label, valid = [], [], [], []
    for seed in seeds:
        sample = NOISE.sample(draw_content(None, 40, np.random.default_rng(seed)), int(seed))
        o, e = pair_features(*(np.ascontiguousarray(x.transpose(2, 0, 1)) for x in (sample.a, sample.b)))
        odd.append(o), even.append(e), label.append(cell_mean(sample.label))
        valid.append(cell_mean(sample.valid.astype(float)) >= 0.5)
    odd, even, label, valid = map(np.stack, (odd, even, label, valid))
    axes = (0, 2, 3)
    odd_scale = np.sqrt((odd.astype(float) ** 2).mean(axes, keepdims=True))[0]
    even_mean, even_scale = even.mean(axes, keepdims=True)[0], even.std(axes, keepdims=True)[0]
    assert_allclose(fitted.scale_["odd"], odd_scale, rtol=1e-3, atol=2e-6)
    assert_allclose(fitted.scale_["even_mean"], even_mean, rtol=1e-3, atol=1e-5)
    assert_allclose(fitted.scale_["even"], even_scale, rtol=1e-3, atol=2e-6)
    scale = fitted.scale_
    odd = np.clip(odd / scale["odd"], -3, 3)
    even = np.clip((even - scale["even_mean"]) / scale["even"], -3, 3)
    products = np.concatenate([odd, wide(odd), *(odd * even[:, [j]] for j in range(len(EVEN)))], axis=1)
    X = np.moveaxis(products, 1, -1)[valid].astype(float)
    y = np.moveaxis(label, 1, -1)[valid]
    columns = np.sqrt((X**2).mean(axis=0)) + np.finfo(np.float32).tiny
    ridge = Ridge(alpha=0.03 * len(X), fit_intercept=False, solver="svd").fit(X / columns, y)
    assert_allclose(fitted.coef_ * columns, ridge.coef_, atol=2e-4 * np.abs(ridge.coef_).max())


def test_predictions_are_the_sum_of_products(fitted):
    a, ref = (np.random.default_rng(seed).random((40, 48, 3)).astype(np.float32) for seed in (0, 1))
    odd, even = pair_features(*(np.ascontiguousarray(x.transpose(2, 0, 1)) for x in (a, ref)))
    odd = np.clip(odd / fitted.scale_["odd"], -3, 3).astype(float)
    even = np.clip((even - fitted.scale_["even_mean"]) / fitted.scale_["even"], -3, 3)
    products = np.concatenate([odd, wide(odd), *(odd * plane for plane in even)])
    expected = np.clip(np.einsum("kp,phw->khw", fitted.coef_.astype(float), products), -1, 1)
    assert_allclose(fitted.predict_map(a, ref), expected, atol=1e-4)


def test_the_same_seed_learns_the_same():
    # With an engine that has no seed of its own, too.
    tiny = dict(n_pairs=2, size=32, random_state=0)
    first, second = (ClassicalRelationalMap(**tiny).fit().coef_ for _ in range(2))
    assert_array_equal(first, second)
    assert (ClassicalRelationalMap(**{**tiny, "random_state": 1}).fit().coef_ != first).any()
    states = [DistortionEngine(random_state=np.random.RandomState(3)) for _ in range(2)]
    drawn = [ClassicalRelationalMap(engine, **tiny).fit().coef_ for engine in states]
    assert_array_equal(*drawn)
    assert (drawn[0] != first).any()
    other = ClassicalRelationalMap(DistortionEngine(random_state=9), **tiny).fit().coef_
    assert (other != first).any()


def test_workers_change_nothing():
    # Not even with a generator, of which each worker has a copy.
    serial, parallel = (
        ClassicalRelationalMap(clone(NOISE), n_pairs=3, size=32, random_state=0, n_jobs=n_jobs)
        .set_params(engine__random_state=np.random.RandomState(0))
        .fit()
        for n_jobs in (None, 2)
    )
    assert_array_equal(serial.coef_, parallel.coef_)
    for name, values in serial.scale_.items():
        assert_array_equal(parallel.scale_[name], values)


def test_learns_from_pictures_and_files(tmp_path):
    leaves = dead_leaves(64)
    model = ClassicalRelationalMap(NOISE, **SMALL).fit([leaves])
    again = ClassicalRelationalMap(NOISE, **SMALL).fit(leaves[None])
    assert_array_equal(model.coef_, again.coef_)
    assert (ClassicalRelationalMap(NOISE, **SMALL).fit().coef_ != model.coef_).any()
    with pytest.raises(ValueError, match="Image 0 has 32 x 32 pixels"):
        ClassicalRelationalMap(NOISE, **SMALL).fit([leaves[:32, :32]])


def test_sizes_that_are_no_cells_are_trimmed():
    assert ClassicalRelationalMap(NOISE, n_pairs=2, size=37).fit().coef_.shape == (2, len(ODD) * (2 + len(EVEN)))


def test_pictures_of_which_all_is_clipped():
    # Red cannot become brighter, nor green darker.
    engine = DistortionEngine(["exposure"], severity="strength", masks="full", random_state=0)
    picture = np.full((40, 40, 3), [1.0, 0.0, 0.5])
    with pytest.raises(ValueError, match="Every cell of every pair was clipped"):
        ClassicalRelationalMap(engine, n_pairs=3, size=40, random_state=0).fit([picture])


def test_parameters_are_stored_and_cloned():
    model = ClassicalRelationalMap(NOISE, n_pairs=3, size=33, alpha=0.5, n_jobs=2, random_state=5)
    parameters = model.get_params(deep=False)
    assert parameters == dict(engine=NOISE, n_pairs=3, size=33, alpha=0.5, n_jobs=2, random_state=5)
    copy = clone(model)
    assert copy.get_params(deep=False).keys() == parameters.keys() and copy.n_pairs == 3
    assert copy.engine.get_params() == NOISE.get_params()
    assert not hasattr(copy, "coef_")
    assert ClassicalRelationalMap(**SMALL).fit().channel_names_ == CORE6


@pytest.mark.parametrize(
    "parameters", [{"n_pairs": 0}, {"size": 31}, {"alpha": 0}, {"engine": "core6"}, {"random_state": "x"}]
)
def test_refuses_other_parameters(parameters):
    with pytest.raises(ValueError, match=f"'{next(iter(parameters))}' parameter"):
        ClassicalRelationalMap(**parameters).fit()


def test_an_unfitted_map():
    with pytest.raises(NotFittedError):
        ClassicalRelationalMap().predict_map(np.zeros((32, 32, 3)), np.zeros((32, 32, 3)))
    with pytest.raises(NotFittedError):
        ClassicalRelationalMap().save("nowhere.npz")


@pytest.mark.parametrize(
    ("a", "ref", "message"),
    [
        (np.zeros((32, 40, 3)), np.zeros((40, 32, 3)), "one size"),
        (np.zeros((32, 40, 4)), np.zeros((32, 40, 3)), "alpha"),
        (np.zeros((31, 40, 3)), np.zeros((31, 40, 3)), "at least 32"),
        (np.full((32, 40, 3), 255.0), np.zeros((32, 40, 3)), "Divide by 255"),
        (np.full((32, 40, 3), np.nan), np.zeros((32, 40, 3)), "NaN"),
    ],
)
def test_refuses_other_pairs(a, ref, message):
    with pytest.raises(ValueError, match=message):
        PRETRAINED.predict_map(a, ref)
    with pytest.raises(ValueError, match="'flat' or 'panorama'"):
        PRETRAINED.predict_map(np.zeros((32, 32, 3)), np.zeros((32, 32, 3)), "cube")


# Files


def test_files_hold_all_and_execute_nothing(fitted, tmp_path):
    fitted.save(tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz", allow_pickle=False) as file:
        assert {"coef", "channel_names"} < set(file.files)
    loaded = ClassicalRelationalMap.load(tmp_path / "map.npz")
    assert loaded.channel_names_ == fitted.channel_names_ == ("noise", "exposure")
    assert loaded.engine.channel_names_ == fitted.channel_names_
    a, ref = (np.random.default_rng(seed).random((40, 48, 3)) for seed in (0, 1))
    for other in (loaded, pickle.loads(pickle.dumps(fitted))):
        assert_array_equal(other.predict_map(a, ref), fitted.predict_map(a, ref))


def test_files_of_something_else(tmp_path, fitted):
    np.savez(tmp_path / "nothing.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="at least one channel"):
        ClassicalRelationalMap.load(tmp_path / "nothing.npz")
    fitted.save(tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "fewer.npz", **{**arrays, "coef": arrays["coef"][:, :-1]})
    with pytest.raises(ValueError, match=r"fewer.npz holds arrays of shapes .* fit it again"):
        ClassicalRelationalMap.load(tmp_path / "fewer.npz")
    np.savez(tmp_path / "pickled.npz", **{**arrays, "coef": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        ClassicalRelationalMap.load(tmp_path / "pickled.npz")


def test_what_is_shipped():
    assert PRETRAINED.channel_names_ == CORE6
    assert ClassicalRelationalMap.pretrained("core6").coef_.tobytes() == PRETRAINED.coef_.tobytes()
    for channels in ("core7", ["noise"], "noise"):
        with pytest.raises(ValueError, match="'core6' and 'full12'"):
            ClassicalRelationalMap.pretrained(channels)


# How good it is


def accuracy(model, photographs, n_pairs=None):
    """R2 and share of right signs (of cells with a label beyond 0.05) of each channel."""
    engine = DistortionEngine(random_state=2)
    truth, predicted = [], []
    for index, picture in enumerate(photographs):
        sample = engine.sample(picture, index)
        valid = cell_mean(sample.valid.astype(np.float32)) >= 0.5
        truth.append(cell_mean(sample.label)[:, valid])
        predicted.append(model.predict_map(sample.a, sample.b)[:, valid])
    y, p = (np.concatenate(values, axis=1) for values in (truth, predicted))
    r2 = 1 - ((y - p) ** 2).sum(axis=1) / ((y - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    active = np.abs(y) > 0.05
    signs = [(np.sign(y[k]) == np.sign(p[k]))[active[k]].mean() for k in range(len(y))]
    return dict(zip(model.channel_names_, zip(r2, signs, strict=True), strict=True))


def test_on_photographs_it_has_not_seen(data_dir):
    crops = []
    for path in list_images(data_dir / "photos"):
        picture = read_image(path)
        room = np.array(picture.shape[:2]) - 256
        for top, left in (room * k // 4 for k in (1, 2, 3)):
            crops.append(picture[top : top + 256, left : left + 256])
    found = accuracy(PRETRAINED, crops)
    least = {
        "exposure": (0.87, 0.898),
        "noise": (0.84, 0.897),
        "saturation": (0.77, 0.883),
        "blockiness": (0.75, 0.886),
        "sharpness": (0.56, 0.823),
        "contrast": (0.49, 0.833),
    }
    for channel, (r2, signs) in least.items():
        assert found[channel][0] >= r2 and found[channel][1] >= signs, (channel, found)


def test_on_dead_leaves_it_has_not_seen():
    leaves = [draw_content(None, 96, np.random.default_rng(5000 + seed)) for seed in range(16)]
    found = accuracy(PRETRAINED, leaves)
    assert all(r2 > 0.3 for r2, _ in found.values()), found
    assert all(signs > 0.75 for _, signs in found.values()), found


def test_every_channel_is_told_from_the_others():
    ref = dead_leaves(96, random_state=50)
    engine = DistortionEngine()
    for k, name in enumerate(CORE6):
        for level in engine.level_range(name):
            if level:
                levels = np.zeros(6)
                levels[k] = 0.8 * level
                means = PRETRAINED.predict_map(engine.apply(ref, levels)[0], ref).mean(axis=(1, 2))
                assert np.abs(means).argmax() == k and means[k] * level > 0, (name, level, means)


def test_evaluate_clips():
    huge = {name: 1e-6 * np.ones_like(values) for name, values in PRETRAINED.scale_.items()}
    a, b = np.random.default_rng(0).random((2, 3, 32, 32)).astype(np.float32)
    change = classical.evaluate(*pair_features(a, b), huge, 100 * PRETRAINED.coef_)
    assert change.min() == -1 and change.max() == 1
