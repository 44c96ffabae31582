import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from patchdistill.demo.distortions import LEVELS, distort, similarity_to

pytest.importorskip("skimage")
pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("scene", [0, 1])
@pytest.mark.parametrize("kind", LEVELS)
def test_each_level_loses_more_than_the_one_before(kind, scene):
    image = load_sample_images().images[scene][100:300, 200:400]
    versions = [distort(image, kind, level) for level in (1, 2, 3, 4, 5)]
    assert all(version.shape == image.shape and version.dtype == np.uint8 for version in versions)
    labels = [1.0] + [similarity_to(image, version) for version in versions]
    assert (np.diff(labels) < -0.005).all()


def test_noise_is_seeded():
    image = np.full((40, 40, 3), 128, dtype=np.uint8)
    first, again, other = (distort(image, "noise", 3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert np.std(first) == pytest.approx(LEVELS["noise"][2], rel=0.1)


def test_same_image_has_similarity_one():
    image = load_sample_images().images[0][:60, :60]
    assert similarity_to(image, image) == pytest.approx(1.0)
