import numpy as np
import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402

from patchdistill import PatchBags  # noqa: E402
from patchdistill.qfm.inputs import ImagePatches, Reading  # noqa: E402
from patchdistill.sampling import GridSampler  # noqa: E402

RNG = np.random.default_rng(0)
POOLS = [RNG.integers(0, 256, (n, 8, 6, 3), dtype=np.uint8) for n in (2, 1, 3)]
ALL = np.concatenate(POOLS)


def reading(size=None, **parameters):
    defaults = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "batch_size": 4, "device": None, "autocast": None}
    return Reading(size=size, **{**defaults, **parameters})


def rows_of(images):
    return np.stack([images.read(row) for row in range(len(images.image))])


def as_bags(pools, **fields):
    return PatchBags.from_list(pools, fields=fields)


@pytest.mark.parametrize(
    "X",
    [
        POOLS,
        as_bags(POOLS),
        PatchBags.from_list([np.zeros((len(pool), 5)) for pool in POOLS], fields={"pixels": POOLS}),
        as_bags([POOLS[2], POOLS[0], POOLS[1]])[[1, 2, 0]],
    ],
    ids=["list", "bags", "field", "taken"],
)
def test_pools_are_read_patch_by_patch(X):
    images = reading().open(X)
    assert len(images) == 3 and images.patch_size == (8, 6)
    assert_array_equal(images.n_patches, [2, 1, 3])
    assert_array_equal(images.image, [0, 0, 1, 2, 2, 2])
    assert_array_equal(images.weights, np.ones(6))
    assert_array_equal(rows_of(images), ALL)


def test_a_stack_of_pools_is_read():
    assert_array_equal(rows_of(reading().open(ALL.reshape(3, 2, 8, 6, 3))), ALL)


@pytest.mark.parametrize("form", [list, np.asarray, "paths"])
def test_a_picture_is_its_own_only_patch(form, tmp_path):
    if form == "paths":
        X = [tmp_path / f"{i}.png" for i in range(len(ALL))]
        for path, picture in zip(X, ALL, strict=True):
            Image.fromarray(picture).save(path)
    else:
        X = form(ALL)
    images = reading().open(X)
    assert_array_equal(images.image, np.arange(6))
    assert_array_equal(rows_of(images), ALL)


def test_files_are_decoded_when_a_batch_asks(tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for path, picture in zip(paths, ALL, strict=True):
        Image.fromarray(picture).save(path)
    read = []
    from patchdistill import cutting, images

    decode = images.read_image
    for module in (cutting, images):
        monkeypatch.setattr(module, "read_image", lambda path: read.append(path) or decode(path))
    for X in (paths, GridSampler(n_patches=1, patch_size=4).transform(paths)):
        opened = reading(size=8).open(X)
        assert not read
        opened.tensor([4, 1], reading(size=8).preprocess(torch.nn.Identity()))
        assert read == [paths[4], paths[1]]
        read.clear()


def test_weights_of_patches_have_mean_one_in_every_image():
    weights = [np.array([1.0, 3.0]), np.array([7.0]), np.array([0.0, 1.0, 1.0])]
    images = reading().open(as_bags(POOLS, weights=weights))
    assert_allclose(images.weights, [0.5, 1.5, 1.0, 0.0, 1.5, 1.5])
    values = RNG.normal(size=(6, 2))
    expected = [
        np.average(values[rows], axis=0, weights=w) for rows, w in zip(([0, 1], [2], [3, 4, 5]), weights, strict=True)
    ]
    assert_allclose(images.means(values), expected)
    assert_allclose(images.means(values[:, 0]), np.array(expected)[:, 0])


def test_images_can_be_taken_and_joined():
    weights = [np.array([1.0, 3.0]), np.array([7.0]), np.array([0.0, 1.0, 1.0])]
    images = reading().open(as_bags(POOLS, weights=weights))
    taken = images.take(np.array([2, 0]))
    assert_array_equal(rows_of(taken), np.concatenate([POOLS[2], POOLS[0]]))
    assert_allclose(taken.weights, [0.0, 1.5, 1.5, 0.5, 1.5])
    joined = taken.join(images.take(np.array([1])))
    assert_array_equal(rows_of(joined), np.concatenate([POOLS[2], POOLS[0], POOLS[1]]))
    assert_array_equal(joined.n_patches, [3, 2, 1])
    assert_allclose(joined.weights, [0.0, 1.5, 1.5, 0.5, 1.5, 1.0])


def test_pictures_of_any_size_and_type_are_resized_one_by_one():
    pictures = [ALL[0], RNG.random((20, 30, 3)), RNG.integers(0, 256, (5, 5, 3), dtype=np.uint8)]
    preprocess = reading(size=(6, 4)).preprocess(torch.nn.Identity())
    together = reading(size=(6, 4)).open(pictures).tensor([2, 0, 1], preprocess)
    assert together.shape == (3, 3, 6, 4)
    for i, x in zip((2, 0, 1), together, strict=True):
        assert torch.equal(x, preprocess(torch.from_numpy(pictures[i]))), i


def test_the_network_gets_what_was_asked_for_in_batches():
    sizes = []

    def look(x, rows):
        sizes.append(len(x))
        return x.mean(dim=(2, 3)), torch.from_numpy(rows)

    of = reading(mean=(0.5, 0.0, 0.0), std=(2.0, 1.0, 1.0), batch_size=4)
    means, rows = of.run(look, torch.nn.Identity(), of.open(POOLS))
    assert sizes == [4, 2] and means.dtype == np.float64
    expected = ALL.mean(axis=(1, 2)) / 255
    expected[:, 0] = (expected[:, 0] - 0.5) / 2
    assert_allclose(means, expected, atol=1e-6)
    assert_array_equal(rows, np.arange(6))
    by_image = of.average(look, torch.nn.Identity(), of.open(POOLS))[0]
    assert_allclose(by_image, [expected[:2].mean(axis=0), expected[2], expected[3:].mean(axis=0)], atol=1e-6)


def test_a_network_is_run_in_evaluation_mode_without_gradients_and_left_as_it_was():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8 * 6 * 3, 2), torch.nn.Dropout(0.5)).train()

    def look(x, rows):
        assert not network.training and not torch.is_grad_enabled()
        return (network(x),)

    of = reading()
    assert_array_equal(*(of.run(look, network, of.open(POOLS))[0] for _ in range(2)))
    assert network.training


@pytest.mark.parametrize(
    ("X", "like", "message"),
    [
        (np.zeros((20, 5)), None, r"X has shape \(20, 5\): a table of features.*QFMRidge"),
        ([ALL[0], ALL[1], ALL[1][:7]], None, r"Image 2 has patches of 7 x 6 pixels .* 8 x 6 are expected.*size=None"),
        (POOLS, (9, 6), r"Image 0 has patches of 8 x 6 pixels .* 9 x 6 are expected"),
        (list(ALL), (9, 6), r"Image 0 has patches of 8 x 6 pixels .* 9 x 6 are expected"),
        (as_bags([np.zeros((2, 5))]), None, "'pixels' is no field of the patches"),
        ([np.zeros((2, 8, 6, 3)), np.zeros((2, 8, 6, 4))], None, "Image 1 has shape"),
        ([], None, "no pictures"),
        ("a/b.png", None, "single path"),
    ],
)
def test_what_is_no_image_or_of_another_size_is_an_error(X, like, message):
    first = None
    if like is not None:
        first = reading().open([np.zeros((*like, 3))])
    with pytest.raises(ValueError, match=message):
        reading().open(X, like=first)


def test_with_a_size_nothing_needs_to_be_alike():
    first = reading(size=4).open([np.zeros((9, 9, 3))])
    assert len(reading(size=4).open([ALL[0], ALL[1][:7]], like=first)) == 2


@pytest.mark.parametrize(
    "X", [[np.zeros((1, 4, 4, 3)), np.full((1, 4, 4, 3), 2.0)], PatchBags(np.full((2, 4, 4, 3), 2.0), [0, 1, 2])]
)
def test_pixels_out_of_range_are_an_error_when_they_are_read(X):
    with pytest.raises(ValueError, match=r"Image 1 has float values from 2 to 2|Image 0 has float values"):
        reading(size=4).open(X).read(0)


def test_rows_are_images_of_many_patches():
    images = ImagePatches(lambda row: row, [1, 2], np.ones(3))
    assert len(images) == 2 and [images.take(np.array([1])).read(row) for row in range(2)] == [1, 2]
