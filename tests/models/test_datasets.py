import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from numpy.testing import assert_array_equal  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from patchdistill import PatchBags  # noqa: E402
from patchdistill.embedding import PatchStatistics  # noqa: E402
from patchdistill.models import BagDataset, pad_collate  # noqa: E402

RNG = np.random.default_rng(0)
IMAGES = [RNG.normal(size=(n, 3)) for n in (4, 1, 6)]
PIXELS = [RNG.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8) for n in (2, 3)]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 4))
def test_a_batch_holds_all_patches_and_nothing_else(counts, batch_size):
    rng = np.random.default_rng(0)
    bags = PatchBags.from_list([rng.normal(size=(n, 2)) for n in counts])
    loader = DataLoader(BagDataset(bags, np.arange(len(counts)), dtype="float64"), batch_size, collate_fn=pad_collate)
    batches = list(loader)
    flat = torch.cat([inputs["patches"][inputs["mask"]] for inputs, _ in batches])
    assert_array_equal(flat.numpy(), bags.values)
    assert_array_equal(torch.cat([inputs["mask"].sum(dim=1) for inputs, _ in batches]), counts)
    assert_array_equal(torch.cat([labels for _, labels in batches]), np.arange(len(counts)))
    assert all((inputs["patches"][~inputs["mask"]] == 0).all() for inputs, _ in batches)


def test_collate_is_to_padded():
    bags = PatchBags.from_list(IMAGES)
    values, mask = bags.to_padded()
    batch = pad_collate([torch.from_numpy(image) for image in IMAGES])
    assert_array_equal(batch["patches"], values)
    assert_array_equal(batch["mask"], mask)


def test_forms_agree():
    stack = RNG.normal(size=(2, 4, 3))
    for X in (list(stack), PatchBags.from_list(list(stack))):
        for i in range(2):
            assert torch.equal(BagDataset(X)[i][0]["patches"], BagDataset(stack)[i][0]["patches"])


def test_features_and_labels_are_single_precision_and_pixels_stay_bytes():
    inputs, label = BagDataset(IMAGES, [1, 2, 3])[2]
    assert inputs["patches"].dtype == label.dtype == torch.float32
    assert BagDataset(PIXELS)[0][0]["patches"].dtype == torch.uint8
    assert BagDataset(IMAGES, [1, 2, 3], dtype="float64")[0][1].dtype == torch.float64


def test_pixels_are_a_field_or_the_values():
    embedded = PatchStatistics().transform(PIXELS)
    for X in (embedded, PIXELS):
        for i in range(2):
            assert_array_equal(BagDataset(X, field="pixels")[i][0]["patches"], PIXELS[i])


def test_what_is_on_disk_is_read_item_by_item(tmp_path):
    np.save(tmp_path / "pixels.npy", np.concatenate(PIXELS))
    reads = []

    class Store:
        source = np.load(tmp_path / "pixels.npy", mmap_mode="r")
        shape, dtype = source.shape, source.dtype

        def __len__(self):
            return len(self.source)

        def __getitem__(self, rows):
            reads.append(rows)
            return self.source[rows]

    dataset = BagDataset(PatchBags(Store(), [0, 2, 5]), [0, 1])
    assert not reads
    assert_array_equal(dataset[1][0]["patches"], PIXELS[1])
    assert len(reads) == 1


def test_weights_go_along_when_asked_for():
    weights = [[0.5, 0.5, 0, 0], [1.0], [1, 2, 3, 4, 5, 6]]
    bags = PatchBags.from_list(IMAGES, fields={"weights": weights})
    assert set(BagDataset(bags)[0][0]) == {"patches"}
    batch = pad_collate([BagDataset(bags, weights=True)[i] for i in range(3)])[0]
    assert_array_equal(batch["weights"][batch["mask"]], np.concatenate(weights))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [1, 2]}, "y has 2 labels, but there are 3 images"),
        ({"y": [[1], [2], [3]]}, r"y has shape \(3, 1\), but one number per image is needed, \(3,\). Pass y.ravel\(\)"),
        ({"y": np.ones((3, 2))}, r"y has shape \(3, 2\).*one model per kind"),
        ({"y": [1, np.nan, 2]}, r"y contains nan \(image 1\)"),
        ({"y": ["a", "b", "c"]}, "y has dtype <U1, but labels are numbers.*could not convert"),
        ({"field": "pixels"}, "field='pixels' is no field of the patches.*TorchEmbedder"),
        ({"weights": True}, r"weights=True, but the patches have only the fields \['patch_index'\]"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        BagDataset(IMAGES, **arguments)


def test_refuses_an_image_without_patches():
    with pytest.raises(ValueError, match="Image 1 of the batch has no patch"):
        pad_collate([torch.ones(2, 3), torch.ones(0, 3)])
