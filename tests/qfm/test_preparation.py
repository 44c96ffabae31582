import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill.qfm import QFMRegressor, match_pairs, thumbnail_descriptor  # noqa: E402
from patchdistill.qfm.inputs import Reading  # noqa: E402
from patchdistill.qfm.networks import TinyViT  # noqa: E402
from patchdistill.qfm.preparation import (  # noqa: E402
    check_labels,
    describe_semantics,
    make_network,
    match_images,
    split_images,
)
from patchdistill.qfm.training import Recipe  # noqa: E402

RNG = np.random.default_rng(0)
POOLS = [RNG.random((n, 16, 16, 3)).astype(np.float32) for n in (2, 1, 3)]
OPTIONS = {"layer": None, "pooling": "cls", "channels_last": False, "gate": "adaptive", "n_queries": 2}


def reading(size=None, **parameters):
    defaults = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "batch_size": 4, "device": None, "autocast": None}
    return Reading(size=size, **{**defaults, **parameters})


def network(encoder, X=POOLS, size=None, seed=0, of=None, **options):
    of = reading(size) if of is None else of
    return make_network(encoder, of.open(X), of, seed, **{**OPTIONS, **options})


def tiny():
    torch.manual_seed(3)
    return TinyViT(size=16, patch=8, width=8, depth=1)


def test_the_encoder_is_copied_and_its_width_found():
    encoder = tiny()
    made = network(encoder)
    assert made.width == 8 and made.encoder is not encoder
    assert torch.equal(made.encoder.summary, encoder.summary)
    maps = network(nn.Conv2d(3, 5, 3), pooling="mean", gate=None, n_queries=0)
    assert maps.width == 5 and maps.gate is None
    layer = network(nn.Sequential(nn.Conv2d(3, 7, 3), nn.Conv2d(7, 5, 3)), pooling="mean", layer="0")
    assert layer.width == 7


def test_without_an_encoder_a_small_one_of_the_size_of_the_patches_is_made():
    assert network(None, size=32).encoder.size == 32
    assert network(None, size=(24, 24)).encoder.size == 24
    assert network(None, size=None).encoder.size == 16


def test_the_seed_decides_the_weights_and_the_generator_is_left_alone():
    state = torch.get_rng_state()
    first, second, other = (network(None, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.summary"], other["encoder.summary"])
    assert not torch.equal(first["decoder.queries"], other["decoder.queries"])


@pytest.mark.parametrize(
    ("encoder", "size", "message"),
    [
        (tiny(), 24, r"cannot be run on patches of 24 x 24 pixels \(.*16.*\)\. If it takes others"),
        (nn.Linear(5, 2), None, r"cannot be run on patches of 16 x 16 pixels"),
        (None, (16, 24), "square patches, and not 16 x 24"),
        (None, 20, "size=20 is no multiple of patch=8"),
    ],
)
def test_patches_that_do_not_fit_the_encoder_are_an_error(encoder, size, message):
    with pytest.raises(ValueError, match=message):
        network(encoder, size=size)


def test_an_encoder_that_gives_nan_is_an_error():
    encoder = tiny()
    nn.init.constant_(encoder.summary, torch.nan)
    with pytest.raises(ValueError, match="tokens of the first patch are not finite"):
        network(encoder)


def test_thumbnails_describe_images_without_a_network():
    expected = [thumbnail_descriptor(pool).mean(axis=0) for pool in POOLS]
    assert_allclose(describe_semantics(reading().open(POOLS), reading()), expected)


def test_the_token_that_sums_up_describes_images():
    made = network(encoder := tiny())
    described = describe_semantics(reading().open(POOLS), reading(), made)
    for pool, row in zip(POOLS, described, strict=True):
        with torch.no_grad():
            tokens = encoder.eval()(torch.from_numpy(pool).permute(0, 3, 1, 2))[:, 0].numpy()
        assert_allclose(
            row, (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).mean(axis=0), rtol=1e-4, atol=1e-6
        )


def images(n=30):
    rng = np.random.default_rng(1)
    return rng.normal(size=n), rng.normal(size=(n, 4)), np.arange(n) // 2


@pytest.mark.parametrize("pairing", ["quality", "semantic", "both"])
def test_partners_are_those_of_match_pairs(pairing):
    y, semantics, groups = images()
    recipe = Recipe.of(QFMRegressor(pairing=pairing))
    (partners, negatives), unmatched = match_images(y, semantics, groups, recipe, tau=0.05, k=2)
    assert_array_equal(partners, match_pairs(y, semantics, groups, tau=0.05, k=2))
    assert 0 < unmatched < 1 and unmatched == (partners[:, 0] < 0).mean()
    if pairing == "quality":
        assert negatives is None
    else:
        assert_array_equal(negatives, match_pairs(y, semantics, groups, tau=0.05, k=2, pairing="semantic"))


def test_with_contrast_alone_an_image_needs_both_kinds():
    y, semantics, groups = images()
    y[:27] = 0.0  # within 1 of all but the last three
    y[27:] = 5.0
    semantic, both = (Recipe.of(QFMRegressor(pairing=pairing)) for pairing in ("semantic", "both"))
    (partners, negatives), unmatched = match_images(y, semantics, groups, semantic, tau=3.2, k=1)
    lacking = (partners[:, 0] < 0) | (negatives[:, 0] < 0)
    assert unmatched == pytest.approx(lacking.mean())
    assert match_images(y, semantics, groups, both, tau=3.2, k=1)[1] == (partners[:, 0] < 0).mean()


def test_without_any_partner_there_is_a_warning():
    y, semantics, groups = images()
    with pytest.warns(
        UserWarning, match="No image has partners with tau=1e-09; the network is trained on labels alone"
    ):
        matched = match_images(y, semantics, groups, Recipe.of(QFMRegressor()), tau=1e-9, k=2)
    assert matched == (None, 1.0)


def test_scenes_are_held_out_whole():
    y, _, groups = images()
    train, held_out = split_images(y, groups, 0.2, seed=4)
    assert len(held_out) == 6 and not set(groups[train]) & set(groups[held_out])
    assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(30))
    assert_array_equal(split_images(y, groups, 0.2, seed=4)[1], held_out)
    assert not np.array_equal(split_images(y, groups, 0.2, seed=5)[1], held_out)
    train, held_out = split_images(y, groups, None, seed=4)
    assert_array_equal(train, np.arange(30))
    assert len(held_out) == 0


@pytest.mark.parametrize(
    ("n", "fraction", "message"), [(12, 0.4, "There are 8 images"), (16, 0.9, "There are 2 images")]
)
def test_what_is_left_to_train_on_is_checked(n, fraction, message):
    y, _, groups = images(n)
    with pytest.raises(ValueError, match=message):
        split_images(y, groups, fraction, seed=0)


def test_labels_of_the_rest_that_are_constant_are_an_error():
    y = np.zeros(20)
    y[:2] = 1.0
    groups = np.arange(20) // 2
    with pytest.raises(ValueError, match="All labels are 0"):
        for seed in range(100):
            split_images(y, groups, 0.2, seed=seed)


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        (np.ones(12), None, "All labels are 1"),
        ([*range(11), np.nan], None, r"y contains nan \(image 11\)"),
        (range(11), None, "y has 11 labels, but there are 12 images"),
        (range(12), ["sea"] * 12, "All images are of one group"),
        (range(12), range(11), "inconsistent numbers of samples"),
        (None, None, "the target y is None"),
    ],
)
def test_labels_and_groups_are_checked(y, groups, message):
    with pytest.raises(ValueError, match=message):
        check_labels(y, groups, 12)


def test_few_images_are_an_error():
    with pytest.raises(ValueError, match="There are 9 images, but matching needs at least 10"):
        check_labels(range(9), None, 9)


def test_groups_are_numbered_and_labels_numbers():
    y, groups = check_labels(list(range(12)), ["b", "a"] * 6, 12)
    assert y.dtype == np.float64 and groups.tolist() == [1, 0] * 6
    assert check_labels(list(range(12)), None, 12)[1].tolist() == list(range(12))
