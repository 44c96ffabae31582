import pytest

torch = pytest.importorskip("torch")

from numpy.testing import assert_array_equal  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from patchdistill import ResidualPatchSelector, select_patches  # noqa: E402
from patchdistill.models import SelectedPatches, pad_collate, select_indices  # noqa: E402

E = torch.rand(3, 20, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
KEPT = [[0, 3, 7], [19], [2, 4]]


@pytest.mark.parametrize("rate", [0.25, 7])
def test_indices_are_those_of_the_selector(rate):
    expected = ResidualPatchSelector(rate=rate).fit(E.numpy()).selected_idx_
    assert_array_equal(select_indices(E, rate), expected)
    for i in range(3):
        assert_array_equal(select_indices(E[i], rate), expected[i])
        assert_array_equal(select_indices(list(E), rate)[i], expected[i])


def test_ragged_images_and_other_parameters():
    images = [E[0], E[1, :12], E[2, :7]]
    for kept, image in zip(select_indices(images, 0.5, h=3, coverage=None), images, strict=True):
        assert kept.dtype == torch.int64
        assert torch.equal(kept, select_patches(image, h=3, rate=0.5, coverage=None).indices)


def test_no_gradient_is_needed_or_given():
    kept = select_indices(E.clone().requires_grad_())
    assert not kept.requires_grad


@pytest.mark.parametrize("embeddings", [E.numpy(), [E[0].numpy()], []])
def test_refuses_what_is_no_tensor(embeddings):
    with pytest.raises(TypeError, match="without tensors; pass tensors, or call select_patches"):
        select_indices(embeddings)


def test_refuses_a_tensor_whose_images_keep_different_numbers():
    different = torch.cat([E[:1], E[:1, :2].repeat(1, 10, 1)])
    with pytest.raises(ValueError, match="which do not make one tensor. Pass a list of tensors"):
        select_indices(different, "auto")
    assert len(select_indices(list(different), "auto")) == 2


@pytest.mark.parametrize("as_item", [lambda image: image, lambda image: image.numpy()], ids=["tensor", "array"])
def test_a_view_gives_kept_patches_of_every_kind_of_item(as_item):
    images = [as_item(image) for image in E]
    for i, (image, kept) in enumerate(zip(images, KEPT, strict=True)):
        assert_array_equal(SelectedPatches(images, KEPT)[i], image[kept])
        assert_array_equal(SelectedPatches([(one, i) for one in images], KEPT)[i][0], image[kept])
        item = SelectedPatches([{"x": one, "name": "a"} for one in images], KEPT, keys=["x"])[i]
        assert_array_equal(item["x"], image[kept])
        assert item["name"] == "a"
        both = SelectedPatches([({"x": one, "z": -one}, 0.5) for one in images], KEPT)[i][0]
        assert_array_equal(both["z"], -image[kept])


def test_a_view_in_a_loader():
    view = SelectedPatches(TensorDataset(E, torch.arange(3.0)), KEPT)
    (inputs, labels), *_ = DataLoader(view, batch_size=3, collate_fn=pad_collate)
    assert_array_equal(inputs["mask"].sum(dim=1), [3, 1, 2])
    assert_array_equal(inputs["patches"][1, 0], E[1, 19])
    assert_array_equal(labels, [0, 1, 2])


def test_refuses_selections_of_other_images():
    with pytest.raises(ValueError, match="selections for 2 images, but the data set has 3"):
        SelectedPatches(E, KEPT[:2])
    with pytest.raises(IndexError, match="Image 1 has 20 patches, but patch 20 was selected"):
        SelectedPatches(E, [[0], [20], [1]])[1]
