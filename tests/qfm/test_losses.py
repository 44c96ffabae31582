import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from scipy import special  # noqa: E402
from scipy.spatial import distance  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill.qfm import QFMRidge, match_pairs  # noqa: E402
from patchdistill.qfm.bank import StatisticsBank  # noqa: E402
from patchdistill.qfm.losses import consistency_loss, contrastive_loss, feature_distance, regression_loss  # noqa: E402
from patchdistill.qfm.networks import QFMNetwork  # noqa: E402
from patchdistill.qfm.perturbation import channel_statistics, perturb  # noqa: E402

SEEDS = st.integers(0, 2**32 - 1)
BETAS = st.floats(0.01, 100)
N, K, M, WIDTH = 4, 3, 2, 5
MASKS = (
    st.lists(st.lists(st.booleans(), min_size=K, max_size=K), min_size=N, max_size=N),
    st.lists(st.lists(st.booleans(), min_size=M, max_size=M), min_size=N, max_size=N),
)


def randn(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def smooth_l1(a, b, beta):
    return special.huber(beta, (a - b).numpy()) / beta


class TestRegression:
    @given(SEEDS, st.integers(1, 6), BETAS)
    def test_is_the_mean_of_hubers_loss(self, seed, n, beta):
        scores, y = randn(seed, n, n)
        np.testing.assert_allclose(regression_loss(scores, y, beta=beta), smooth_l1(scores, y, beta).mean())
        np.testing.assert_allclose(regression_loss(scores, y), smooth_l1(scores, y, 1).mean())

    @given(SEEDS, st.integers(1, 6), BETAS)
    def test_with_weights_is_their_mean(self, seed, n, beta):
        scores, y, weights = randn(seed, n, n, n)
        expected = np.average(smooth_l1(scores, y, beta), weights=weights.exp())
        np.testing.assert_allclose(regression_loss(scores, y, weights.exp(), beta), expected)
        np.testing.assert_allclose(regression_loss(scores, y, 1e-9 * weights.exp(), beta), expected)

    def test_has_the_right_gradient(self):
        scores, y, weights = randn(0, 5, 5, 5)
        assert torch.autograd.gradcheck(
            lambda scores: regression_loss(scores, y, weights.exp(), beta=0.5), scores.requires_grad_()
        )


class TestConsistency:
    @given(SEEDS, st.lists(st.booleans(), min_size=1, max_size=6), BETAS)
    def test_is_the_mean_over_images_with_a_partner(self, seed, valid, beta):
        scores, perturbed = randn(seed, len(valid), len(valid))
        loss = consistency_loss(scores, perturbed, torch.tensor(valid), beta)
        costs = smooth_l1(scores, perturbed, beta)[valid]
        np.testing.assert_allclose(loss, costs.mean() if any(valid) else 0, atol=1e-15)
        by_default = consistency_loss(scores, perturbed, torch.tensor(valid))
        assert by_default == consistency_loss(scores, perturbed, torch.tensor(valid), beta=1)

    def test_has_the_right_gradient_through_both_scores(self):
        inputs = [scores.requires_grad_() for scores in randn(0, (5, 2), (5, 2))]
        valid = torch.arange(10).reshape(5, 2) % 3 > 0
        assert torch.autograd.gradcheck(lambda *scores: consistency_loss(*scores, valid, beta=0.5), inputs)
        consistency_loss(*inputs, valid).backward()
        assert all((scores.grad[valid] != 0).all() and (scores.grad[~valid] == 0).all() for scores in inputs)


def contrast(seed, n=N):
    """Hidden vectors of images, positives and negatives."""
    return randn(seed, (n, WIDTH), (n, K, WIDTH), (n, M, WIDTH))


class TestContrast:
    @given(SEEDS, *MASKS, st.floats(0.05, 2))
    def test_is_the_cross_entropy_of_telling_a_positive_from_the_negatives(
        self, seed, positive_valid, negative_valid, temperature
    ):
        hidden, positives, negatives = contrast(seed)
        of_images = []
        for i in range(N):
            from_negatives = [
                1 - distance.cosine(hidden[i], negatives[i, j]) for j in np.flatnonzero(negative_valid[i])
            ]
            losses = []
            for j in np.flatnonzero(positive_valid[i]):
                logits = torch.tensor([1 - distance.cosine(hidden[i], positives[i, j]), *from_negatives]) / temperature
                losses.append(float(nn.functional.cross_entropy(logits, torch.tensor(0))))
            if losses and from_negatives:
                of_images.append(np.mean(losses))
        masks = torch.tensor(positive_valid), torch.tensor(negative_valid)
        loss = contrastive_loss(hidden, positives, masks[0], negatives, masks[1], temperature)
        np.testing.assert_allclose(loss, np.mean(of_images) if of_images else 0, rtol=1e-5, atol=1e-12)

    @given(SEEDS, *MASKS, st.floats(-3, 3))
    def test_the_length_of_vectors_does_not_count(self, seed, positive_valid, negative_valid, log_scale):
        hidden, positives, negatives = contrast(seed)
        masks = torch.tensor(positive_valid), torch.tensor(negative_valid)
        loss = contrastive_loss(hidden, positives, masks[0], negatives, masks[1])
        factors = np.exp(log_scale), np.exp(-log_scale), np.exp(log_scale / 2)
        scaled = [factor * part for factor, part in zip(factors, (hidden, positives, negatives), strict=True)]
        again = contrastive_loss(scaled[0], scaled[1], masks[0], scaled[2], masks[1])
        torch.testing.assert_close(again, loss, rtol=1e-10, atol=1e-12)

    def test_has_a_low_temperature_by_default(self):
        parts = contrast(0)
        masks = torch.ones(N, K, dtype=torch.bool), torch.ones(N, M, dtype=torch.bool)
        by_default = contrastive_loss(parts[0], parts[1], masks[0], parts[2], masks[1])
        assert by_default == contrastive_loss(parts[0], parts[1], masks[0], parts[2], masks[1], temperature=0.1)

    def test_images_without_both_have_no_weight(self):
        hidden, positives, negatives = contrast(0)
        positive_valid, negative_valid = torch.ones(N, K, dtype=torch.bool), torch.ones(N, M, dtype=torch.bool)
        positive_valid[1], negative_valid[2] = False, False
        kept = torch.tensor([0, 3])
        parts = hidden, positives, positive_valid, negatives, negative_valid
        torch.testing.assert_close(contrastive_loss(*parts), contrastive_loss(*(part[kept] for part in parts)))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("m", [0, M])
    def test_without_any_negative_is_0_with_a_gradient_of_0(self, m, dtype):
        parts = [part.to(dtype).requires_grad_() for part in contrast(0)]
        hidden, positives, negatives = parts
        negatives = negatives[:, :m]
        masks = torch.ones(N, K, dtype=torch.bool), torch.zeros(N, m, dtype=torch.bool)
        loss = contrastive_loss(hidden, positives, masks[0], negatives, masks[1])
        loss.backward()
        assert loss == 0
        assert all((part.grad == 0).all() for part in parts)

    def test_has_the_right_gradient(self):
        parts = [part.requires_grad_() for part in contrast(0)]
        masks = torch.arange(N * K).reshape(N, K) % 4 > 0, torch.tensor([[True, False], [True, True]] * 2)

        def run(hidden, positives, negatives):
            return contrastive_loss(hidden, positives, masks[0], negatives, masks[1], temperature=0.5)

        assert torch.autograd.gradcheck(run, parts)

    def test_a_low_temperature_does_not_overflow(self):
        parts = [part.float().requires_grad_() for part in contrast(0)]
        masks = torch.ones(N, K, dtype=torch.bool), torch.ones(N, M, dtype=torch.bool)
        loss = contrastive_loss(parts[0], parts[1], masks[0], parts[2], masks[1], temperature=1e-4)
        loss.backward()
        assert torch.isfinite(loss) and all(torch.isfinite(part.grad).all() for part in parts)


class TestDistance:
    @given(SEEDS, st.integers(1, 5))
    def test_is_the_weighted_mean_of_scipys(self, seed, n):
        a, b, weights = randn(seed, (n, WIDTH), (n, WIDTH), n)
        each = [distance.cosine(*rows) for rows in zip(a, b, strict=True)]
        np.testing.assert_allclose(feature_distance(a, b), np.mean(each))
        np.testing.assert_allclose(feature_distance(a, b, weights.exp()), np.average(each, weights=weights.exp()))

    def test_is_0_for_one_direction_and_2_for_opposite_ones(self):
        (a,) = randn(0, (3, WIDTH))
        np.testing.assert_allclose([feature_distance(a, 7 * a), feature_distance(a, -a)], [0, 2], atol=1e-12)

    def test_has_the_right_gradient(self):
        inputs = [part.requires_grad_() for part in randn(0, (3, WIDTH), (3, WIDTH))]
        assert torch.autograd.gradcheck(feature_distance, inputs)


@pytest.mark.parametrize("loss", [regression_loss, consistency_loss, feature_distance])
class TestAll:
    def test_without_weight_are_0_and_can_be_trained_on(self, loss):
        shape = (3, WIDTH) if loss is feature_distance else (3,)
        a, b = (part.requires_grad_() for part in randn(0, shape, shape))
        value = loss(a, b, torch.zeros(3))
        value.backward()
        assert value == 0 and (a.grad == 0).all()

    def test_refuse_what_would_be_broadcast(self, loss):
        with pytest.raises(ValueError, match=r"Got the shapes \(3, 1\) and \(3,\); they must be the same."):
            loss(torch.zeros(3, 1), torch.zeros(3), torch.ones(3))
        a, b = (torch.zeros(3, WIDTH),) * 2 if loss is feature_distance else (torch.zeros(3),) * 2
        with pytest.raises(ValueError, match=r"Got the shapes \(3,\) and \(3, 1\); they must be the same."):
            loss(a, b, torch.ones(3, 1))


class TestAgreesWithTheClosedForm:
    """On a linear head the losses are a quadratic form, whose minimum is known: generalized ridge regression."""

    n, width, k, beta = 40, 5, 3, 1e3
    consistency, strength = 0.7, 0.6
    lam = consistency * strength**2

    def images(self, form):
        tokens, y, semantics = randn(3, (self.n, 4, self.width), self.n, (self.n, 4))
        tokens = tokens + 2 * randn(4, (self.n, 1, self.width))[0]
        X = tokens.mean(dim=1) if form == "features" else tokens
        Z = X if form == "features" else tokens[:, 1:].mean(dim=1)
        y = y + Z @ torch.linspace(-1, 1, self.width, dtype=torch.float64) + 7
        groups = np.arange(self.n) // 3
        partners = match_pairs(y, semantics, groups, k=self.k)
        assert (partners < 0).any() and (partners >= 0).any(axis=1).mean() > 0.5
        return X, Z.numpy(), y, partners, {"groups": groups, "semantics": semantics}

    def closed_form(self, Z, y, partners):
        Z, y = Z - Z.mean(axis=0), y.numpy() - y.numpy().mean()
        pairs = np.array([Z[j] - Z[i] for i in range(self.n) for j in partners[i] if j >= 0])
        scatter = pairs.T @ pairs / len(pairs)
        return np.linalg.solve(Z.T @ Z / self.n + self.lam * scatter, Z.T @ y / self.n)

    def loss(self, X, y, partners, kind):
        network = QFMNetwork(nn.Identity(), width=self.width, gate=None, n_queries=0).double()
        tokens = network.encode(X)
        statistics = channel_statistics(tokens)
        bank = StatisticsBank(partners, None, self.width).double()
        bank.update(torch.arange(self.n), *statistics, network.head(tokens).hidden)
        mean, std, valid = bank.partners_of(torch.arange(self.n))
        strength = torch.full((self.n,), self.strength, dtype=torch.float64)

        def loss():
            scores = network.head(tokens).scores
            perturbed = [
                network.head(perturb(tokens, *statistics, mean[:, j], std[:, j], strength, kind)).scores
                for j in range(self.k)
            ]
            apart = consistency_loss(
                scores[:, None].expand(-1, self.k), torch.stack(perturbed, dim=1), valid, beta=self.beta
            )
            return self.beta * (regression_loss(scores, y, beta=self.beta) + self.consistency * apart)

        return loss, network.decoder.score

    @pytest.mark.parametrize("kind", ["shift", "style"])
    @pytest.mark.parametrize("form", ["features", "tokens"])
    def test_where_the_gradient_vanishes_and_training_ends(self, form, kind):
        X, Z, y, partners, _ = self.images(form)
        expected = self.closed_form(Z, y, partners)
        loss, linear = self.loss(X, y, partners, kind)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(expected))
            linear.bias.fill_(y.mean() - Z.mean(axis=0) @ expected)
        loss().backward()
        assert linear.weight.grad.abs().max() < 1e-10 and linear.bias.grad.abs() < 1e-10

        with torch.no_grad():
            linear.weight.zero_(), linear.bias.zero_()
        optimizer = torch.optim.LBFGS(
            linear.parameters(), max_iter=200, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def closure():
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return value

        optimizer.step(closure)
        np.testing.assert_allclose(linear.weight.detach()[0], expected, rtol=0, atol=1e-8)

    @pytest.mark.parametrize("form", ["features", "tokens"])
    def test_which_is_that_of_qfm_ridge(self, form):
        _, Z, y, partners, matching = self.images(form)
        ridge = QFMRidge(lam=self.lam, alpha=1e-9, k=self.k).fit(Z, y.numpy(), **matching)
        np.testing.assert_allclose(ridge.coef_, self.closed_form(Z, y, partners), rtol=0, atol=1e-9)
