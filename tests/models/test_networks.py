import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from scipy import ndimage  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill.models import PatchCNN, PatchMean, PatchTransformer, Preprocess, pad_collate  # noqa: E402
from patchdistill.models.networks import LocalContrast  # noqa: E402

COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def ragged(counts, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, *shape, generator=generator, dtype=torch.float64) for n in counts]


def seeded(make):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make().double()


TRANSFORMER = seeded(lambda: PatchTransformer(n_features=5, width=8, n_heads=2, n_layers=2)).eval()


def cnn():
    model = seeded(lambda: PatchCNN(channels=(4, 8)))
    pixels = torch.rand(20, 9, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model(pixels[None])  # statistics of batch normalization other than 0 and 1
    return model.eval()


CNN = cnn()


@given(COUNTS, st.integers(1, 7))
def test_more_padding_does_not_change_the_score_of_a_transformer(counts, more):
    batch = pad_collate(ragged(counts, (5,)))
    padded = {
        "patches": torch.cat([batch["patches"], torch.full((len(counts), more, 5), 1e3, dtype=torch.float64)], dim=1),
        "mask": torch.cat([batch["mask"], torch.zeros(len(counts), more, dtype=torch.bool)], dim=1),
    }
    torch.testing.assert_close(TRANSFORMER(**padded), TRANSFORMER(**batch), rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_padding_does_not_change_gradients_either(training):
    images = ragged([2, 5, 3], (5,))
    model = copy.deepcopy(TRANSFORMER).train(training)

    def gradient(scores):
        model.zero_grad()
        scores.square().sum().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    batched = gradient(model(**pad_collate(images)))
    alone = gradient(torch.cat([model(image[None]) for image in images]))
    torch.testing.assert_close(batched, alone, rtol=0, atol=1e-10)


@given(COUNTS)
def test_a_batch_of_a_transformer_is_the_loop_over_images(counts):
    images = ragged(counts, (5,))
    alone = torch.cat([TRANSFORMER(image[None]) for image in images])
    torch.testing.assert_close(TRANSFORMER(**pad_collate(images)), alone, rtol=0, atol=1e-12)


def test_a_transformer_reads_a_set():
    image = ragged([6], (5,))[0]
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(TRANSFORMER(image[order][None]), TRANSFORMER(image[None]), rtol=0, atol=1e-12)


@given(COUNTS, st.booleans())
def test_the_score_of_an_image_by_a_patch_cnn_is_the_loop_over_its_patches(counts, weighted):
    images = [image.sigmoid() for image in ragged(counts, (9, 9, 3))]
    weights = [torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) + 0.1 for n in counts]
    items = [
        {"patches": image, **({"weights": weight} if weighted else {})}
        for image, weight in zip(images, weights, strict=True)
    ]
    with torch.no_grad():
        scores = CNN(**pad_collate(items))
        for image, weight, score in zip(images, weights, scores, strict=True):
            each = np.array([float(CNN.network(patch[None])) for patch in image])
            expected = np.average(each, weights=weight.numpy() if weighted else None)
            np.testing.assert_allclose(float(score), expected, rtol=0, atol=1e-12)


def test_pixels_reach_the_network_through_preprocess():
    stored = torch.randint(0, 256, (2, 3, 9, 9, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 9, 1)).double()
    model = PatchMean(nn.Sequential(Preprocess().double(), network))
    expected = network(stored.movedim(-1, 2).flatten(0, 1).double() / 255).reshape(2, 3).mean(dim=1)
    torch.testing.assert_close(model(stored), expected)


def test_a_network_is_copied_so_that_every_training_begins_with_the_same_weights():
    network = nn.Linear(5, 1)
    model = PatchMean(network)
    with torch.no_grad():
        model.network.weight.zero_()
    assert network.weight.abs().sum() > 0


@pytest.mark.parametrize("model", [TRANSFORMER, PatchMean(nn.Linear(5, 1).double())], ids=["transformer", "mean"])
class TestRefuses:
    patches = torch.zeros(2, 3, 5, dtype=torch.float64)

    def test_a_mask_of_nothing(self, model):
        mask = torch.tensor([[True, False, False], [False, False, False]])
        with pytest.raises(ValueError, match="Image 1 of the batch has no patch: its mask is False throughout"):
            model(self.patches, mask)

    @pytest.mark.parametrize("mask", [torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 3)])
    def test_other_masks(self, model, mask):
        with pytest.raises(ValueError, match=r"one bool per patch is needed, \(2, 3\)"):
            model(self.patches, mask)


@pytest.mark.parametrize("network", [nn.Linear(5, 2), nn.Flatten(0)])
def test_refuses_a_network_with_more_than_one_score_per_patch(network):
    with pytest.raises(ValueError, match=r"Got shape .* for 6 patches; one number each is needed, \(6,\) or \(6, 1\)"):
        PatchMean(network)(torch.zeros(2, 3, 5))


@pytest.mark.parametrize("shape", [(9, 9), (64, 64), (5, 20), (1, 3)])
def test_local_contrast_is_the_formula_over_the_pixels_of_a_window(shape):
    rng = np.random.default_rng(0)
    image = rng.random((3, *shape))
    luma = np.tensordot([0.299, 0.587, 0.114], image, axes=1)

    def window_mean(plane):
        inside = ndimage.convolve(np.ones(shape), np.ones((7, 7)), mode="constant")
        return ndimage.convolve(plane, np.ones((7, 7)), mode="constant") / inside

    detail = luma - window_mean(luma)
    expected = detail / (np.sqrt(window_mean(detail**2)) + 0.02)
    np.testing.assert_allclose(LocalContrast()(torch.tensor(image)[None])[0, 0], expected, atol=1e-12)
