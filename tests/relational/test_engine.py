import contextlib
import hashlib
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from patchdistill.datasets import dead_leaves
from patchdistill.relational import DistortionEngine, Operation
from patchdistill.relational.channels import CORE6, FULL12
from patchdistill.relational.masks import make_mask
from patchdistill.relational.operators import operator_of
from patchdistill.relational.severity import to_level, to_strength

REFERENCE = dead_leaves(40, 56)
REFERENCE.setflags(write=False)
GRAY = np.full((96, 96, 3), 0.5, dtype=np.float32)

engines = st.builds(
    lambda channels, masks, order, severity, geometry: DistortionEngine(
        channels, max_ops=4, masks=masks, order=order, severity=severity, geometry=geometry, random_state=3
    ),
    st.sampled_from(["core6", "full12", ["noise", "sharpness", "hue"]]),
    st.sampled_from(["mixed", "full", "field", "box", "half", "ramp"]),
    st.sampled_from(["isp", "random"]),
    st.sampled_from(["calibrated", "strength"]),
    st.sampled_from(["flat", "panorama", "sphere"]),
)


def digest(sample):
    arrays = (sample.a, sample.b, sample.s_a, sample.s_b, sample.valid)
    ops = json.dumps([op.to_dict() for op in (*sample.ops_a, *sample.ops_b)])
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays) + ops.encode()).hexdigest()


def equal(first, second):
    return all(x.tobytes() == y.tobytes() for x, y in zip(first, second, strict=True))


# Samples


@given(engine=engines, index=st.integers(0, 200))
@settings(max_examples=20)
def test_samples_can_be_done_again(engine, index):
    before = REFERENCE.tobytes()
    sample = engine.sample(REFERENCE, index)
    assert digest(clone(engine).sample(REFERENCE, index)) == digest(sample)
    assert REFERENCE.tobytes() == before
    valid = True
    for image, label, ops in ((sample.a, sample.s_a, sample.ops_a), (sample.b, sample.s_b, sample.ops_b)):
        again = [Operation(**json.loads(json.dumps(op.to_dict()))) for op in ops]
        assert again == ops and len(ops) <= 4
        result = engine.replay(REFERENCE, again)
        assert equal(result[:2], (image, label))
        valid = valid & result[2]
    assert_array_equal(valid, sample.valid)


@given(engine=engines, index=st.integers(0, 200))
@settings(max_examples=12)
def test_the_form_of_samples(engine, index):
    sample = engine.sample(REFERENCE, index)
    n_channels = len(engine.channel_names_)
    for image in (sample.a, sample.b):
        assert image.shape == (40, 56, 3) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1
    for label in (sample.s_a, sample.s_b, sample.label):
        assert label.shape == (n_channels, 40, 56) and label.dtype == np.float32
    assert max(np.abs(sample.s_a).max(), np.abs(sample.s_b).max()) <= 1
    assert sample.valid.shape == (40, 56) and sample.valid.dtype == bool
    assert_array_equal(sample.label, sample.s_a - sample.s_b)


def test_the_same_bytes_in_another_process():
    program = """
import hashlib
from patchdistill.datasets import dead_leaves
from patchdistill.relational.engine import DistortionEngine
engine = DistortionEngine("full12", random_state=7, order="random")
for index in range(4):
    s = engine.sample(dead_leaves(40, 56), index)
    print(hashlib.sha256(b"".join(x.tobytes() for x in (s.a, s.b, s.s_a, s.s_b, s.valid))).hexdigest())
"""
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        exec(program, {})
    assert here.getvalue() == there and len(set(there.split())) == 4


def test_seeds():
    first, second = (digest(DistortionEngine(random_state=seed).sample(REFERENCE)) for seed in (0, 1))
    assert first != second
    assert len({digest(DistortionEngine().sample(REFERENCE)) for _ in range(3)}) == 3
    states = [np.random.RandomState(0) for _ in range(2)]
    drawn = [digest(DistortionEngine(random_state=state).sample(REFERENCE)) for state in states]
    assert drawn[0] == drawn[1]
    engine = DistortionEngine(random_state=np.random.RandomState(0))
    assert digest(engine.sample(REFERENCE)) != digest(engine.sample(REFERENCE))


def test_nothing_global_is_drawn_from():
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    DistortionEngine("full12", random_state=0).sample(REFERENCE)
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


def test_a_quarter_of_the_pairs_differ_only_in_levels():
    engine = DistortionEngine(random_state=0)
    same = 0
    for index in range(100):
        sample = engine.sample(REFERENCE[:8, :8], index)
        same += bool(sample.ops_a) and [(op.channel, op.seed) for op in sample.ops_a] == [
            (op.channel, op.seed) for op in sample.ops_b
        ]
    assert 10 < same < 38


# The algebra of labels


@given(seeds=st.lists(st.integers(0, 500), min_size=3, max_size=3))
@settings(max_examples=10)
def test_labels_are_an_algebra(seeds):
    engine = DistortionEngine(random_state=0)
    a, b, c = (engine.sample(REFERENCE, seed).s_a for seed in seeds)
    assert_array_equal(a - b, -(b - a))
    assert not (a - a).any()
    # A difference of two labels in single precision is exact in double precision, and so is the sum of two of them.
    a, b, c = (label.astype(np.float64) for label in (a, b, c))
    assert_array_equal(a - c, (a - b) + (b - c))


def test_labels_say_what_was_done_and_where():
    engine = DistortionEngine()
    ops = [Operation("exposure", -0.3, "field", 5), Operation("noise", 0.4, "box", 6)]
    image, label, valid = engine.replay(GRAY, ops)
    masks = [make_mask(op.mask, 96, 96, np.random.default_rng([op.seed, 0])) for op in ops]
    expected = np.zeros((6, 96, 96), dtype=np.float32)
    expected[0], expected[4] = np.float32(-0.3) * masks[0], np.float32(0.4) * masks[1]
    assert_array_equal(label, expected)
    assert_array_equal(image[(masks[0] == 0) & (masks[1] == 0)], 0.5)
    strength = to_strength(-0.3, "exposure", "dct")
    only_exposure = (masks[0] == 1) & (masks[1] == 0)
    assert only_exposure.any()
    assert_allclose(image[only_exposure], 0.5 + 0.25 * strength, atol=1e-6)
    deviation = (image - 0.5)[(masks[0] == 0) & (masks[1] == 1)].std()
    assert_allclose(deviation, 0.12 * to_strength(0.4, "noise", "dct"), rtol=0.05)
    assert valid.all()


def test_levels_of_one_channel_add_up_to_one_at_most():
    engine = DistortionEngine(["exposure"], severity="strength")
    for levels, sum_ in (((0.3, 0.4), 0.7), ((0.3, -0.1), 0.2), ((0.8, 0.7), 1.0), ((-0.8, -0.7), -1.0)):
        _, label, _ = engine.replay(GRAY, [Operation("exposure", level) for level in levels])
        assert_allclose(label, sum_, rtol=1e-6)


def test_a_mask_and_what_is_drawn_in_it_have_streams_of_their_own():
    engine = DistortionEngine(["noise"], severity="strength")
    image, _, _ = engine.replay(GRAY, [Operation("noise", 0.3, "field", 5)])
    mask = make_mask("field", 96, 96, np.random.default_rng([5, 0]))
    noisy = operator_of("noise", "dct")(GRAY, np.float32(0.3) * mask, np.random.default_rng([5, 1]), "flat")
    assert_array_equal(image, noisy)


def test_no_operations_are_no_change():
    engine = DistortionEngine()
    image, label, valid = engine.replay(REFERENCE, [])
    assert_array_equal(image, REFERENCE.astype(np.float32) / np.float32(255))
    assert not label.any() and valid.all()
    assert_array_equal(engine.apply(REFERENCE, np.zeros(6))[0], image)
    given_floats = image.copy()
    engine.replay(given_floats, [])[0][:] = 0
    assert_array_equal(given_floats, image)


def test_bytes_and_floats_are_one_picture():
    sample = DistortionEngine(random_state=4).sample(REFERENCE)
    assert digest(DistortionEngine(random_state=4).sample(REFERENCE / np.float32(255))) == digest(sample)


def test_clipped_pixels_are_not_valid():
    ref = np.tile(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (16, 1, 3))
    engine = DistortionEngine(["exposure"], severity="strength")
    image, _, valid = engine.apply(ref, [0.5])
    assert_array_equal(valid, ref[..., 0] + 0.125 <= 1 + 1e-4)
    assert 0 < valid.mean() < 1 and image.max() == 1
    _, _, valid = engine.apply(ref, [-0.5])
    assert_array_equal(valid, ref[..., 0] - 0.125 >= -1e-4)
    # One color is enough, and what a later change brings back stays lost.
    red = GRAY.copy()
    red[..., 0] = 0.99
    engine = DistortionEngine(["exposure"], severity="strength")
    assert not engine.replay(red, [Operation("exposure", 0.5), Operation("exposure", -0.5)])[2].any()


def test_what_rounding_carries_beyond_the_range_is_not_clipped():
    white = np.ones((16, 16, 3), dtype=np.float32)
    for end, sign in ((white, 1), (0 * white, -1)):
        engine = DistortionEngine(["exposure"], severity="strength")
        image, _, valid = engine.apply(end, [sign * 2e-4])  # 5e-5 is added
        assert valid.all()
        assert_array_equal(image, end)
        assert not engine.apply(end, [sign * 8e-4])[2].any()


@pytest.mark.parametrize("order", ["isp", "random"])
def test_labels_of_noise_that_was_blurred(order):
    # Noise of a standard deviation of 0.05, and a Gaussian of one pixel behind it, which leaves about 0.014.
    engine = DistortionEngine(["sharpness", "noise"], order=order, severity="strength")
    ops = [Operation("noise", 0.05 / 0.12, seed=1), Operation("sharpness", -1 / 3, seed=2)]
    image, label, _ = engine.replay(np.full((128, 128, 3), 0.5), ops)
    assert_allclose(image.std(), 0.0141, rtol=0.03)
    assert_allclose(0.12 * label[1], image.std(), rtol=0.03)
    assert_allclose(label[0], -1 / 3, rtol=1e-6)
    # The other way round, nothing is taken.
    image, label, _ = engine.replay(np.full((128, 128, 3), 0.5), ops[::-1])
    assert_allclose(label[1], 0.05 / 0.12, rtol=1e-6)
    assert_allclose(image.std(), 0.05, rtol=0.03)


@pytest.mark.parametrize("noise", ["noise", "shot noise", "chroma noise"])
@pytest.mark.parametrize(("filtered_by", "level"), [("sharpness", -0.2), ("sharpness", 0.1), ("motion blur", 0.3)])
def test_labels_of_filtered_noise_are_those_of_the_noise_that_is_left(noise, filtered_by, level):
    engine = DistortionEngine([noise, filtered_by], order="random")
    ref = np.full((128, 128, 3), 0.5)
    before, _, _ = engine.replay(ref, [Operation(noise, 0.1, seed=1)])
    after, label, _ = engine.replay(ref, [Operation(noise, 0.1, seed=1), Operation(filtered_by, level, seed=2)])
    left = to_strength(float(label[0].mean()), noise, "dct") / to_strength(0.1, noise, "dct")
    assert_allclose(left, after.std() / before.std(), rtol=0.06)


def test_noise_that_is_blurred_here_and_there():
    engine = DistortionEngine(["sharpness", "noise"], order="random", severity="strength")
    ops = [Operation("noise", 0.4, seed=1), Operation("sharpness", -0.5, "box", seed=4)]
    _, label, _ = engine.replay(GRAY, ops)
    assert_allclose(label[1][label[0] == 0], 0.4, rtol=1e-6)
    assert_allclose(label[1][label[0] != 0], 0.4 / (2 * np.sqrt(np.pi) * 1.5), rtol=0.01)


# Given amounts


@given(engine=engines, seed=st.integers(0, 100))
@settings(max_examples=12)
def test_apply_is_pure(engine, seed):
    rng = np.random.default_rng(seed)
    n_channels = len(engine.channel_names_)
    masks = rng.random((n_channels, 40, 56)).astype(np.float32)
    ranges = np.array([engine.level_range(name) for name in engine.channel_names_])
    amplitudes = rng.uniform(*ranges.T)
    for array in (masks, amplitudes):
        array.setflags(write=False)
    first = engine.apply(REFERENCE, amplitudes, masks, np.random.default_rng(seed))
    second = engine.apply(REFERENCE, amplitudes, masks, np.random.default_rng(seed))
    assert equal(first, second)
    assert first[0].dtype == np.float32 and 0 <= first[0].min() <= first[0].max() <= 1
    if engine.order == "isp":
        assert_array_equal(first[1], amplitudes.astype(np.float32)[:, None, None] * masks)


def test_apply_draws_from_its_generator_alone():
    engine = DistortionEngine(random_state=0)
    rng = np.random.default_rng(0)
    levels = [0, 0, 0, 0, 0.5, 0]
    first, second = (engine.apply(GRAY, levels, rng=rng)[0] for _ in range(2))
    assert (first != second).any()
    assert_array_equal(engine.apply(GRAY, levels)[0], engine.apply(GRAY, levels, rng=np.random.default_rng(0))[0])
    assert_array_equal(engine.apply(GRAY, levels)[0], first)


def test_noise_does_not_depend_on_what_else_is_done():
    engine = DistortionEngine(severity="strength")
    alone = engine.apply(GRAY, [0, 0, 0, 0, 0.5, 0])[0]
    darker = engine.apply(GRAY, [-0.4, 0, 0, 0, 0.5, 0])[0]
    assert_allclose(alone - darker, 0.1, atol=1e-6)


@pytest.mark.parametrize("name", FULL12)
def test_apply_uses_the_operator_at_the_calibrated_strength(name):
    engine = DistortionEngine([name])
    level = 0.7 * engine.level_range(name)[1]
    ref = np.clip(REFERENCE / 255, 0.3, 0.7).astype(np.float32)
    rng = np.random.default_rng(np.random.default_rng(9).integers(2**63, size=12)[FULL12.index(name)])
    strength = to_strength(np.float32(level), name, "dct")
    expected = operator_of(name, "dct")(ref, strength, rng, "flat")
    image, label, _ = engine.apply(ref, [level], rng=np.random.default_rng(9))
    assert_allclose(image, np.clip(expected, 0, 1), atol=1e-6)
    assert_array_equal(label[0], np.float32(level))


def test_one_mask_for_all_channels():
    engine = DistortionEngine(["exposure", "saturation"])
    mask = np.random.default_rng(0).random((40, 56))
    one = engine.apply(REFERENCE, [0.2, -0.2], mask)
    assert equal(one, engine.apply(REFERENCE, [0.2, -0.2], np.stack([mask, mask])))


def test_channels_in_another_order_are_the_same_in_another_order():
    names = ["noise", "sharpness", "exposure"]
    image, label, valid = DistortionEngine(names).apply(REFERENCE, [0.3, -0.3, 0.2])
    other = DistortionEngine(names[::-1]).apply(REFERENCE, [0.2, -0.3, 0.3])
    assert equal((image, label[::-1], valid), other)


def test_random_order_is_drawn():
    levels = [0.2, -0.2, 0.3]
    engine = DistortionEngine(["exposure", "sharpness", "noise"], order="random")
    results = {engine.apply(REFERENCE, levels, rng=np.random.default_rng(seed))[1].tobytes() for seed in range(12)}
    assert len(results) == 2  # noise before or after the blur


@pytest.mark.parametrize("codec", ["jpeg", "jpeg2000"])
def test_real_encoders(codec):
    engine = DistortionEngine(["blockiness"], codec=codec)
    low, high = engine.level_range("blockiness")
    leaves = dead_leaves(96)
    mild, bad = (engine.apply(leaves, [share * high])[0] for share in (0.1, 1.0))
    assert low == 0 < np.abs(mild - leaves / 255).mean() < np.abs(bad - leaves / 255).mean()
    sample = DistortionEngine(codec=codec, random_state=1).sample(REFERENCE)
    assert digest(DistortionEngine(codec=codec, random_state=1).sample(REFERENCE)) == digest(sample)


def test_panoramas_turn_with_what_is_done():
    ref = dead_leaves(32, 64) / 255
    levels = [0.2, -0.3, 0.2, -0.4, 0, 0.2]
    mask = make_mask("field", 32, 64, np.random.default_rng(0), on_sphere=True)
    for geometry, commutes in (("sphere", True), ("panorama", True), ("flat", False)):
        engine = DistortionEngine(geometry=geometry)
        image = engine.apply(ref, levels, mask)[0]
        turned = engine.apply(np.roll(ref, 16, axis=1), levels, np.roll(mask, 16, axis=1))[0]
        assert (np.abs(turned - np.roll(image, 16, axis=1)).max() < 1e-4) == commutes


def test_masks_are_shapes_on_the_sphere_where_the_picture_is_one():
    op = Operation("exposure", 0.2, "half", 3)
    labels = {g: DistortionEngine(geometry=g).replay(REFERENCE, [op])[1] for g in ("flat", "panorama", "sphere")}
    assert_array_equal(labels["panorama"], labels["sphere"])
    assert (labels["flat"] != labels["sphere"]).any()


# The face of a transformer


def test_transform_is_the_first_version_of_samples(tmp_path):
    engine = DistortionEngine(random_state=5)
    stack = np.stack([dead_leaves(24, random_state=seed) for seed in range(3)])
    for i, image in enumerate(stack):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    versions = engine.fit_transform(list(stack))
    assert isinstance(versions, list) and len(versions) == 3
    for index, version in enumerate(versions):
        assert_array_equal(version, engine.sample(stack[index], index).a)
    for other in (engine.transform(stack), engine.transform([tmp_path / f"{i}.png" for i in range(3)])):
        assert equal(other, versions)
    assert equal(make_pipeline(engine).fit_transform(stack), versions)


def test_parameters_are_stored_and_cloned():
    parameters = dict(
        channels="full12", max_ops=2, masks="box", order="random", severity="strength", codec="jpeg", geometry="sphere"
    )
    engine = DistortionEngine(**parameters, random_state=3)
    assert clone(engine).get_params() == engine.get_params() == {**parameters, "random_state": 3}
    assert engine.channel_names_ == FULL12 and DistortionEngine().channel_names_ == CORE6
    assert engine.fit() is engine


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"channels": "core7"}, "'core6', 'full12'"),
        ({"channels": ["rain"]}, "no channel 'rain'"),
        ({"channels": 6}, "'channels' parameter"),
        ({"max_ops": 0}, "'max_ops' parameter"),
        ({"masks": "circle"}, "masks must be 'mixed'"),
        ({"order": "alphabetic"}, "'order' parameter"),
        ({"severity": "high"}, "'severity' parameter"),
        ({"codec": "png"}, "'codec' parameter"),
        ({"geometry": "cube"}, "'geometry' parameter"),
        ({"random_state": "x"}, "'random_state' parameter"),
    ],
)
def test_refuses_other_parameters(parameters, message):
    engine = DistortionEngine(**parameters)
    for call in (engine.fit, lambda: engine.sample(REFERENCE), lambda: engine.transform([REFERENCE])):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (np.zeros((8, 8)), r"shape \(8, 8\)"),
        (np.zeros((8, 8, 4)), "alpha"),
        (np.full((8, 8, 3), 2.0), "Divide by 255"),
        (np.full((8, 8, 3), np.nan), "NaN"),
        (np.zeros((8, 8, 3), np.uint16), "uint16"),
    ],
)
def test_refuses_other_pictures(ref, message):
    engine = DistortionEngine()
    for call in (engine.sample, lambda ref: engine.replay(ref, []), lambda ref: engine.apply(ref, np.zeros(6))):
        with pytest.raises(ValueError, match=message):
            call(ref)


def test_refuses_other_amounts():
    engine = DistortionEngine()
    with pytest.raises(ValueError, match=r"each of the 6 channels; got shape \(2,\)"):
        engine.apply(REFERENCE, [0.1, 0.2])
    with pytest.raises(ValueError, match=r"Levels of noise lie in \[0, 0.\d+\]; got -0.1"):
        engine.apply(REFERENCE, [0, 0, 0, 0, -0.1, 0])
    with pytest.raises(ValueError, match=r"Levels of exposure lie in \[-0.\d+, 0.\d+\]; got nan"):
        engine.apply(REFERENCE, [np.nan, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="masks must have shape"):
        engine.apply(REFERENCE, np.zeros(6), np.ones((3, 3)))
    with pytest.raises(ValueError, match="no channel 'hue'; its channels are exposure"):
        engine.replay(REFERENCE, [Operation("hue", 0.1)])
    with pytest.raises(ValueError, match=r"Levels of blockiness lie in"):
        engine.replay(REFERENCE, [Operation("blockiness", 0.99)])
    with pytest.raises(ValueError, match="no channel 'rain'"):
        engine.level_range("rain")


def test_the_range_of_levels():
    engine = DistortionEngine("full12")
    for name in FULL12:
        low, high = engine.level_range(name)
        assert -1 <= low <= 0 < high <= 1
        assert_allclose(to_level(to_strength(high, name, "dct"), name, "dct"), high)
        for level in (low, high):
            engine.replay(REFERENCE[:16, :16], [Operation(name, level)])
