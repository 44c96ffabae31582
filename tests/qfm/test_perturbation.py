import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from patchdistill.qfm.perturbation import channel_statistics, perturb, worst_partner  # noqa: E402

KINDS = ["style", "shift"]
SEEDS = st.integers(0, 2**32 - 1)


def tokens_with(seed, n=3, n_tokens=5, width=4):
    """Tokens whose channels have standard deviations in [0.1, 2.1], the summary apart."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(n, 1 + n_tokens, width, generator=generator, dtype=torch.float64)
    places = tokens[:, 1:]
    places -= places.mean(dim=1, keepdim=True)
    places /= places.std(dim=1, keepdim=True, correction=0)
    places *= 0.1 + 2 * torch.rand(n, 1, width, generator=generator, dtype=torch.float64)
    places += 3 * torch.randn(n, 1, width, generator=generator, dtype=torch.float64)
    return tokens


def pair(seed, **shape):
    """Tokens with their statistics, and those of a partner."""
    tokens = tokens_with(seed, **shape)
    return tokens, *channel_statistics(tokens), *channel_statistics(tokens_with(seed + 1, **shape))


class TestStatistics:
    @given(SEEDS, st.integers(1, 4), st.integers(2, 6), st.integers(1, 5))
    def test_are_those_of_numpy_without_the_summary(self, seed, n, n_tokens, width):
        tokens = tokens_with(seed, n, n_tokens, width)
        mean, std = channel_statistics(tokens)
        np.testing.assert_allclose(mean, tokens.numpy()[:, 1:].mean(axis=1), rtol=0, atol=1e-12)
        np.testing.assert_allclose(std, tokens.numpy()[:, 1:].std(axis=1), rtol=0, atol=1e-10)

    @given(SEEDS)
    def test_of_a_summary_alone_are_itself_and_almost_no_deviation(self, seed):
        summary = tokens_with(seed)[:, :1]
        mean, std = channel_statistics(summary)
        assert torch.equal(mean, summary[:, 0])
        np.testing.assert_allclose(std, 1e-6, rtol=1e-9)

    def test_have_the_right_gradient(self):
        assert torch.autograd.gradcheck(channel_statistics, tokens_with(0).requires_grad_())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n_tokens", [0, 1, 4])
    def test_of_constant_tokens_have_a_finite_gradient(self, dtype, n_tokens):
        tokens = torch.full((2, 1 + n_tokens, 3), 0.7, dtype=dtype, requires_grad=True)
        mean, std = channel_statistics(tokens)
        assert (std > 0).all() and (std < 2e-6).all()
        (mean + std.log()).sum().backward()
        torch.testing.assert_close(tokens.grad.sum(dim=1), torch.ones(2, 3, dtype=dtype), rtol=0, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
class TestPerturbation:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @given(SEEDS)
    def test_of_strength_0_changes_nothing(self, kind, dtype, seed):
        tokens, *statistics = (part.to(dtype) for part in pair(seed))
        assert torch.equal(perturb(tokens, *statistics, torch.zeros(3, dtype=dtype), kind), tokens)

    @given(SEEDS, st.integers(0, 5).filter(lambda n: n != 1))
    def test_of_strength_1_gives_the_statistics_of_the_partner(self, kind, seed, n_tokens):
        if n_tokens:
            tokens, *statistics = pair(seed, n_tokens=n_tokens)
        else:  # a summary alone
            tokens, other = tokens_with(seed)[:, :1], tokens_with(seed + 1)[:, :1]
            statistics = *channel_statistics(tokens), *channel_statistics(other)
        mean, std = channel_statistics(perturb(tokens, *statistics, torch.ones(3), kind))
        torch.testing.assert_close(mean, statistics[2], rtol=0, atol=1e-10)
        torch.testing.assert_close(std, statistics[3 if kind == "style" else 1], rtol=0, atol=1e-10)

    @given(SEEDS, st.lists(st.floats(0, 2), min_size=3, max_size=3))
    def test_is_normalization_to_statistics_in_between_for_the_summary_too(self, kind, seed, strength):
        tokens, mean, std, other_mean, other_std = pair(seed)
        a = torch.tensor(strength, dtype=torch.float64)
        perturbed = perturb(tokens, mean, std, other_mean, other_std, a, kind)
        for i in range(3):
            between_mean = (1 - strength[i]) * mean[i] + strength[i] * other_mean[i]
            between_std = (1 - strength[i]) * std[i] + strength[i] * other_std[i] if kind == "style" else std[i]
            expected = (tokens[i] - mean[i]) / std[i] * between_std + between_mean
            torch.testing.assert_close(perturbed[i], expected, rtol=0, atol=1e-10)

    def test_has_the_right_gradient_through_the_statistics_too(self, kind):
        _, _, _, other_mean, other_std = pair(0, n=2)
        strength = torch.tensor([0.3, 1.0], dtype=torch.float64)

        def run(tokens, other_mean, other_std, strength):
            return perturb(tokens, *channel_statistics(tokens), other_mean, other_std, strength, kind)

        inputs = [part.clone().requires_grad_() for part in (tokens_with(0, n=2), other_mean, other_std, strength)]
        assert torch.autograd.gradcheck(run, inputs)

    def test_of_constant_tokens_towards_constant_tokens_is_a_shift_with_a_finite_gradient(self, kind):
        tokens = torch.full((1, 4, 2), 0.7, requires_grad=True)
        other = channel_statistics(torch.full((1, 4, 2), 2.0))
        perturbed = perturb(tokens, *channel_statistics(tokens), *other, torch.ones(1), kind)
        torch.testing.assert_close(perturbed, torch.full((1, 4, 2), 2.0))
        perturbed.sum().backward()
        assert torch.isfinite(tokens.grad).all()


def test_a_channel_that_hardly_varies_is_magnified_a_hundredfold_at_most():
    tokens = torch.tensor([[[5.0], [5.0 + 1e-4], [5.0 - 1e-4]]], dtype=torch.float64)
    other = torch.tensor([[0.0]], dtype=torch.float64), torch.tensor([[1.0]], dtype=torch.float64)
    perturbed = perturb(tokens, *channel_statistics(tokens), *other, torch.ones(1))
    torch.testing.assert_close(perturbed, 100 * (tokens - 5), rtol=0, atol=1e-9)
    # In single precision the mean of equal numbers need not be that number.
    constant = torch.full((1, 12, 1), 0.1)
    other = torch.tensor([[0.0]]), torch.tensor([[1.0]])
    assert perturb(constant, *channel_statistics(constant), *other, torch.ones(1)).abs().max() < 1e-5


def test_style_is_the_default_and_other_kinds_are_refused():
    tokens, *statistics = pair(0)
    assert torch.equal(
        perturb(tokens, *statistics, torch.ones(3)), perturb(tokens, *statistics, torch.ones(3), "style")
    )
    # One partner shifts by more; the other changes more once deviations count.
    own, means, stds = (
        torch.tensor([[[0.0], [-1.0], [1.0]]]),
        torch.tensor([[[1.0], [0.5]]]),
        torch.tensor([[[1.0], [9]]]),
    )
    case = own, channel_statistics(own), (means, stds), torch.ones(1, 2, dtype=torch.bool), torch.ones(1)
    assert worst_partner(lambda x: x.amax(dim=(1, 2)), *case).tolist() == [1]
    with pytest.raises(ValueError, match='kind=\'scale\' is no kind of perturbation; use "style" or "shift".'):
        perturb(tokens, *statistics, torch.ones(3), "scale")


class TestWorstPartner:
    n, k, width = 4, 3, 4

    def case(self, seed, valid):
        tokens = tokens_with(seed)[:, :4].repeat(2, 1, 1)[: self.n]
        others = [channel_statistics(tokens_with(seed + 1 + j, n=self.n)) for j in range(self.k)]
        partners = torch.stack([mean for mean, _ in others], dim=1), torch.stack([std for _, std in others], dim=1)
        strength = torch.linspace(0.2, 1.0, self.n, dtype=torch.float64)
        return tokens, channel_statistics(tokens), partners, torch.tensor(valid), strength

    @staticmethod
    def score(tokens):
        return tokens.sin().sum(dim=(1, 2)) + tokens[:, 0].prod(dim=1)

    @pytest.mark.parametrize("kind", KINDS)
    @given(SEEDS, st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=n, max_size=n))
    @example(0, [[False] * k] * n)
    def test_is_that_of_the_loop_over_images_and_partners(self, kind, seed, valid):
        tokens, (mean, std), partners, valid, strength = self.case(seed, valid)
        expected = []
        for i in range(self.n):
            changes = {}
            for j in valid[i].nonzero()[:, 0].tolist():
                other = partners[0][i : i + 1, j], partners[1][i : i + 1, j]
                own = tokens[i : i + 1], mean[i : i + 1], std[i : i + 1]
                moved = perturb(*own, *other, strength[i : i + 1], kind)
                changes[j] = float((self.score(moved) - self.score(own[0])).abs())
            expected.append(max(changes, key=changes.get) if changes else 0)
        for values in partners:  # what is not valid is never looked at
            values[~valid] = torch.nan
        worst = worst_partner(self.score, tokens, (mean, std), partners, valid, strength, kind)
        assert worst.dtype == torch.int64 and worst.tolist() == expected

    def test_takes_no_gradient_and_runs_once_per_partner(self):
        calls = []

        def score(tokens):
            calls.append(torch.is_grad_enabled())
            return self.score(tokens)

        tokens, statistics, partners, valid, strength = self.case(0, [[True] * self.k] * self.n)
        worst_partner(score, tokens.requires_grad_(), statistics, partners, valid, strength)
        assert calls == [False] * (1 + self.k)

    def test_of_equals_is_the_first_that_is_valid(self):
        tokens, statistics, partners, valid, strength = self.case(0, [[False, True, True]] * self.n)
        partners = [values[:, :1].expand(-1, self.k, -1) for values in partners]
        assert worst_partner(self.score, tokens, statistics, partners, valid, strength).tolist() == [1] * self.n
        # also where no partner changes anything
        assert worst_partner(self.score, tokens, statistics, partners, valid, 0 * strength).tolist() == [1] * self.n
