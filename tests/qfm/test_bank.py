import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from patchdistill.qfm import match_pairs  # noqa: E402
from patchdistill.qfm.bank import StatisticsBank  # noqa: E402

N, WIDTH = 6, 3
TABLES = st.integers(1, 3).flatmap(
    lambda k: st.lists(st.lists(st.integers(-1, N - 1), min_size=k, max_size=k), min_size=N, max_size=N)
)
BATCHES = st.lists(st.lists(st.integers(0, N - 1), min_size=1, max_size=5), max_size=4)


def numbered(start, n):
    """Statistics and hidden vectors of n rows, each with a number of its own."""
    rows = torch.arange(start, start + n, dtype=torch.float32)[:, None] + torch.tensor([0.0, 0.1, 0.2])
    return rows, rows + 1000, rows + 2000


@given(TABLES, TABLES, BATCHES)
def test_gives_what_was_seen_last_of_the_images_that_were_seen(partners, negatives, batches):
    bank = StatisticsBank(np.array(partners), np.array(negatives), WIDTH)
    seen = {}
    for number, batch in enumerate(batches):
        rows = numbered(10 * number, len(batch))
        bank.update(torch.tensor(batch), *rows)
        seen |= {image: tuple(part[i] for part in rows) for i, image in enumerate(batch)}

    asked = [4, 0, 5, 4]
    mean, std, valid = bank.partners_of(torch.tensor(asked))
    positives, positive_valid = bank.hidden_of(torch.tensor(asked), "partners")
    others, other_valid = bank.hidden_of(torch.tensor(asked), "negatives")
    assert mean.shape == std.shape == positives.shape == (4, len(partners[0]), WIDTH)
    assert others.shape == (4, len(negatives[0]), WIDTH) and torch.equal(valid, positive_valid)
    assert torch.isfinite(mean).all() and torch.isfinite(std).all() and torch.isfinite(others).all()
    for i, image in enumerate(asked):
        for j, partner in enumerate(partners[image]):
            assert valid[i, j] == (partner in seen)
            if partner in seen:
                for got, expected in zip((mean, std, positives), seen[partner], strict=True):
                    assert torch.equal(got[i, j], expected)
        for j, other in enumerate(negatives[image]):
            assert other_valid[i, j] == (other in seen)
            if other in seen:
                assert torch.equal(others[i, j], seen[other][2])


@given(
    st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(lambda groups: len(set(groups)) > 1),
    st.sampled_from(["quality", "semantic"]),
    st.integers(0, 2**32 - 1),
)
def test_never_gives_an_image_of_the_same_group(groups, pairing, seed):
    rng = np.random.default_rng(seed)
    y, semantics = rng.normal(size=12), rng.normal(size=(12, 4))
    partners = match_pairs(y, semantics, groups, pairing=pairing, tau=0.5)
    bank = StatisticsBank(partners, None, width=1)
    of_group = torch.tensor(groups, dtype=torch.float32)[:, None]
    bank.update(torch.arange(12), of_group, of_group, of_group)
    mean, _, valid = bank.partners_of(torch.arange(12))
    assert torch.equal(valid, torch.from_numpy(partners >= 0))
    assert (mean[:, :, 0] != of_group)[valid].all()


def test_without_negatives_gives_none():
    bank = StatisticsBank([[1], [0]], None, WIDTH)
    bank.update(torch.arange(2), *numbered(0, 2))
    hidden, valid = bank.hidden_of(torch.arange(2), "negatives")
    assert hidden.shape == (2, 0, WIDTH) and valid.shape == (2, 0)


def test_no_gradient_goes_through_it():
    bank = StatisticsBank([[1], [0]], None, WIDTH)
    rows = [part.requires_grad_() for part in numbered(0, 2)]
    bank.update(torch.arange(2), *rows)
    assert not any(tensor.requires_grad for tensor in (*bank.buffers(), *bank.partners_of(torch.arange(2))))


def test_what_it_gave_stays_as_it_was():
    bank = StatisticsBank([[1], [0]], None, WIDTH)
    bank.update(torch.arange(2), *numbered(0, 2))
    before, _, _ = bank.partners_of(torch.arange(2))
    expected = before.clone()
    bank.update(torch.arange(2), *numbered(50, 2))
    assert torch.equal(before, expected)


def test_is_kept_in_a_file_and_read_from_it(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    tables = [[1, -1], [0, 2], [-1, -1]], [[2], [2], [0]]
    bank = StatisticsBank(*tables, WIDTH)
    bank.update(torch.tensor([2, 0]), *numbered(0, 2))
    assert set(bank.state_dict()) == {"mean", "std", "hidden", "filled"}
    safetensors.save_file(bank.state_dict(), tmp_path / "bank.safetensors")
    other = StatisticsBank(*tables, WIDTH)
    other.load_state_dict(safetensors.load_file(tmp_path / "bank.safetensors"))
    images = torch.arange(3)
    for got, expected in zip(
        (*other.partners_of(images), *other.hidden_of(images, "negatives")),
        (*bank.partners_of(images), *bank.hidden_of(images, "negatives")),
        strict=True,
    ):
        assert torch.equal(got, expected)


def test_has_the_precision_and_the_place_of_the_module():
    bank = StatisticsBank([[1], [0]], [[1], [0]], WIDTH).double()
    bank.update(torch.arange(2), *(part.double() / 3 for part in numbered(0, 2)))
    assert torch.equal(bank.mean, numbered(0, 2)[0].double() / 3)
    bank.update(torch.arange(2), *(part.bfloat16() for part in numbered(0, 2)))
    assert bank.mean.dtype == torch.float64
    bank.to("meta")
    assert {bank.mean.device.type, bank.partners.device.type, bank.negatives.device.type} == {"meta"}


class TestRefuses:
    @pytest.mark.parametrize(
        ("partners", "shape", "dtype"),
        [
            ([1, 0], "(2,)", "int64"),
            ([[1.0], [0.0]], "(2, 1)", "float32"),
            ([[True], [False]], "(2, 1)", "bool"),
        ],
    )
    def test_what_is_no_table(self, partners, shape, dtype):
        with pytest.raises(ValueError) as error:
            StatisticsBank(partners, None, WIDTH)
        assert str(error.value) == (
            f"partners has shape {shape} and dtype torch.{dtype}, but one row of integers for each of the 2 images is "
            "needed; match_pairs(y, semantics, groups) makes it."
        )

    def test_tables_of_other_images(self):
        with pytest.raises(ValueError, match="negatives has shape .3, 1. .* for each of the 2 images"):
            StatisticsBank([[1], [0]], [[1], [0], [1]], WIDTH)

    @pytest.mark.parametrize("wrong", [2, -2])
    def test_images_that_are_not_there(self, wrong):
        with pytest.raises(ValueError, match=f"negatives names image {wrong}, but there are 2: 0 to 1, and -1 where"):
            StatisticsBank([[1], [0]], [[1], [wrong]], WIDTH)

    def test_vectors_that_are_not_kept(self):
        bank = StatisticsBank([[1], [0]], None, WIDTH)
        with pytest.raises(ValueError, match=r"which='mean' is not kept; ask for one of \['partners', 'negatives'\]."):
            bank.hidden_of(torch.arange(2), "mean")
