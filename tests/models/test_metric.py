import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numpy.testing import assert_allclose  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill import ResidualPatchSelector  # noqa: E402
from patchdistill.baselines import RandomPatchSelector  # noqa: E402
from patchdistill.embedding import PatchStatistics, TorchEmbedder  # noqa: E402
from patchdistill.models import SelectiveMetric  # noqa: E402
from patchdistill.sampling import GridSampler, cut_patches  # noqa: E402

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
NOISY = (IMAGES + 0.2 * torch.rand(IMAGES.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
SELECTOR = make_pipeline(
    PatchStatistics(n_patches=24, patch_size=16), ResidualPatchSelector(h=4, rate=0.5, normalize="columns")
)


def mse(test, reference, reduction="none"):
    values = ((test - reference) ** 2).mean(dim=(1, 2, 3))
    return values if reduction == "none" else values.mean()


def brightness(test):
    return test.mean(dim=(1, 2, 3))[:, None]


def expected(metric, *images):
    """The same by arrays, one image and one patch after the other."""
    pictures = [batch.movedim(1, -1).numpy() for batch in images]
    bags = clone(SELECTOR).fit_transform(list(pictures[0]))
    scores = []
    for i in range(len(bags)):
        top, left = bags.field("top", i), bags.field("left", i)
        patches = [cut_patches(batch[i], top, left, 16) for batch in pictures]
        each = [float(metric(*(torch.tensor(p[k]).movedim(-1, 0)[None] for p in patches))) for k in range(len(top))]
        scores.append(np.average(each, weights=bags.field("weights", i)))
    return scores


def test_scores_kept_patches_with_their_weights():
    assert_allclose(SelectiveMetric(mse, SELECTOR)(NOISY, IMAGES), expected(mse, NOISY, IMAGES), rtol=1e-5)
    assert_allclose(SelectiveMetric(brightness, SELECTOR)(IMAGES), expected(brightness, IMAGES), rtol=1e-5)


def test_all_patches_of_a_tiling_are_the_whole_image():
    everything = make_pipeline(PatchStatistics(n_patches=24, patch_size=16), RandomPatchSelector(rate=1.0))
    assert_allclose(SelectiveMetric(mse, everything)(NOISY, IMAGES), mse(NOISY, IMAGES), rtol=1e-5)


def test_the_selector_may_see_the_pixels_through_a_network():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    selector = make_pipeline(
        GridSampler(n_patches=24, patch_size=16), TorchEmbedder(network), ResidualPatchSelector(h=4, rate=6)
    )
    assert SelectiveMetric(mse, selector)(NOISY, IMAGES).shape == (2,)


def test_the_selector_is_not_touched():
    SelectiveMetric(mse, SELECTOR)(NOISY, IMAGES)
    assert not hasattr(SELECTOR[-1], "selected_idx_")


def test_gradients_reach_the_image_through_the_metric():
    test = NOISY.clone().requires_grad_()
    SelectiveMetric(mse, SELECTOR)(test, IMAGES).sum().backward()
    assert test.grad.abs().sum() > 0


def test_is_a_module_with_the_metric_in_it():
    metric = SelectiveMetric(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 1)), SELECTOR)
    assert len(list(metric.parameters())) == 2
    assert metric(IMAGES).shape == (2,)


def test_arguments_are_passed_on():
    with pytest.raises(ValueError, match=r"one number for 12 patches; ask it for one per patch, with reduction"):
        SelectiveMetric(mse, SELECTOR)(NOISY, IMAGES, reduction="mean")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((IMAGES[0],), r"\(n_images, 3, height, width\), but got shape \(3, 64, 96\)"),
        ((IMAGES.numpy(),), "but got a ndarray"),
        ((IMAGES, IMAGES[:1]), r"references have shape \(1, 3, 64, 96\), but the images under test"),
        ((3 * IMAGES,), r"float pixels lie in \[0, 1\]"),
    ],
)
def test_refuses_other_images(images, message):
    with pytest.raises(ValueError, match=message):
        SelectiveMetric(lambda *tensors: tensors[0].mean(dim=(1, 2, 3)), SELECTOR)(*images)


def test_refuses_a_selector_whose_patches_cannot_be_found():
    class Placeless(GridSampler):
        def transform(self, X):
            return list(super().transform(X))

    with pytest.raises(ValueError, match=r"gave a list without the fields \['left', 'size', 'top'\]"):
        SelectiveMetric(brightness, Placeless(4, 16))(IMAGES)


@pytest.mark.parametrize("library", ["piq", "torchmetrics"])
def test_metrics_of_other_libraries(library):
    module = pytest.importorskip(library)
    if library == "piq":
        values = SelectiveMetric(module.ssim, SELECTOR)(NOISY, IMAGES, data_range=1.0, reduction="none")
    else:
        ssim = module.functional.image.structural_similarity_index_measure
        values = SelectiveMetric(ssim, SELECTOR)(NOISY, IMAGES, data_range=1.0, reduction="none")
    assert values.shape == (2,)
    assert ((values > 0) & (values < 1)).all()
