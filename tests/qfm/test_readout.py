import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numpy.testing import assert_allclose  # noqa: E402

from patchdistill import PatchBags  # noqa: E402
from patchdistill.qfm.inputs import Reading  # noqa: E402
from patchdistill.qfm.networks import QFMNetwork, TinyViT  # noqa: E402
from patchdistill.qfm.readout import read_out, scores_with_partners, validation_loss  # noqa: E402

RNG = np.random.default_rng(0)
POOLS = [RNG.random((n, 16, 16, 3)).astype(np.float32) for n in (2, 1, 3, 2)]
WEIGHTS = [RNG.random(len(pool)) for pool in POOLS]
READING = Reading(size=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), batch_size=3, device=None, autocast=None)
IMAGES = READING.open(PatchBags.from_list(POOLS, fields={"weights": WEIGHTS}))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return QFMNetwork(TinyViT(size=16, patch=8, width=8, depth=1), width=8).eval()


def tokens_of(network, pool):
    with torch.no_grad():
        return network.encode(torch.from_numpy(pool).permute(0, 3, 1, 2))


@torch.no_grad()
def test_what_the_network_says_is_averaged_over_patches(network):
    scores, hidden, features, gate = read_out(network, IMAGES, READING, "scores", "hidden", "features", "gate")
    for i, (pool, weights) in enumerate(zip(POOLS, WEIGHTS, strict=True)):
        output = network.head(tokens_of(network, pool))
        for found, expected in zip((scores, hidden, features, gate), output, strict=True):
            assert_allclose(found[i], np.average(expected.numpy(), axis=0, weights=weights), rtol=1e-5, atol=1e-6)


def test_the_loss_is_that_of_the_scores_of_images(network):
    labels = np.array([0.3, -3.0, 0.0, 5.0])
    distances = np.abs(read_out(network, IMAGES, READING, "scores")[0] - labels)
    expected = np.where(distances < 1, distances**2 / 2, distances - 0.5).mean()
    assert_allclose(validation_loss(network, IMAGES, labels, READING), expected, rtol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["style", "shift"])
def test_scores_with_the_statistics_of_partners_are_those_of_a_loop(network, kind):
    partners = np.array([[1, 2], [3, 0], [0, -1], [2, 1]])
    scores, moved = scores_with_partners(network, IMAGES, READING, partners, kind)
    assert_allclose(scores, read_out(network, IMAGES, READING, "scores")[0])
    all_tokens = [tokens_of(network, pool)[:, 1:] for pool in POOLS]
    means = [np.average(t.mean(dim=1), axis=0, weights=w) for t, w in zip(all_tokens, WEIGHTS, strict=True)]
    stds = [np.average(t.std(dim=1, correction=0), axis=0, weights=w) for t, w in zip(all_tokens, WEIGHTS, strict=True)]
    for i, j in np.argwhere(partners >= 0):
        other, of_patches = partners[i, j], []
        for patch in POOLS[i]:
            tokens = tokens_of(network, patch[None])
            own, spread = tokens[:, 1:].mean(dim=1), tokens[:, 1:].std(dim=1, correction=0)
            ratio = torch.from_numpy(stds[other]).float() / spread if kind == "style" else 1
            tokens = (tokens - own) * ratio + torch.from_numpy(means[other]).float()
            of_patches.append(network.head(tokens).scores.item())
        assert_allclose(moved[i, j], np.average(of_patches, weights=WEIGHTS[i]), rtol=1e-3, atol=1e-5)
    assert np.abs(moved[0] - scores[0]).min() > 1e-4
