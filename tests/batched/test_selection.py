import collections
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

torch = pytest.importorskip("torch")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import patchdistill.batched.groups  # noqa: E402
import patchdistill.batched.selection  # noqa: E402
from patchdistill import select_patches  # noqa: E402
from patchdistill.batched import BatchSelection, select_batch  # noqa: E402
from patchdistill.ordered import OrderedPatches  # noqa: E402
from patchdistill.scoring import SOLUTION_PARAMETERS, score_patches  # noqa: E402
from patchdistill.selection import choose_patches  # noqa: E402
from patchdistill.similarity import METRICS  # noqa: E402
from patchdistill.testing.strategies import embeddings  # noqa: E402


def assert_is_that_of_each_image(found, images, atol=1e-8, **parameters):
    """Everything that a batch says of an image is what `select_patches` says."""
    for i, image in enumerate(images):
        expected = select_patches(image, **parameters)
        n, k = len(image), len(expected.indices)
        np.testing.assert_allclose(found.scores[i, :n], expected.scores, atol=atol)
        assert found.n_kept[i] == k
        assert found.indices[i, :k].tolist() == expected.indices.tolist()
        assert found.support[i].nonzero()[:, 0].tolist() == expected.indices.tolist()
        assert found.outliers[i].nonzero()[:, 0].tolist() == expected.outliers.tolist()
        assert found.ranking[i, :n].tolist() == expected.ranking.tolist()
        np.testing.assert_allclose(found.weights[i, :k], expected.weights, atol=1e-8)
        assert np.isclose(found.objective[i], expected.solution.objective, rtol=1e-10)
        assert np.isclose(found.dual_gap[i], expected.solution.dual_gap, atol=1e-9 * expected.solution.objective)
        assert found.converged[i] == expected.solution.converged


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"rate": "auto"},
        {"rate": 0.03},
        {"rate": 7},
        {"rate": 1.0, "outlier_threshold": 1.5},
        {"coverage": None},
        {"coverage": None, "keep": "high", "rate": 0.2},
        {"normalize": None},
        {"h": 1},
        {"h": 100},
        {"alpha": 0.5, "beta": 0.05},
        {"beta": np.inf, "bandwidth": 1.0},
        {"tol": 1e-5},
        *({"metric": metric} for metric in METRICS),
    ],
    ids=str,
)
def test_photographs(photographs, parameters):
    found = select_batch(torch.tensor(photographs), **parameters)
    assert_is_that_of_each_image(found, photographs, **parameters)
    steps = [select_patches(image, **parameters).solution.n_iter for image in photographs]
    assert found.n_iter.tolist() == steps


@pytest.mark.parametrize("metric", METRICS)
def test_random_features(metric):
    images = np.random.default_rng(0).normal(size=(4, 40, 100))
    assert_is_that_of_each_image(select_batch(torch.tensor(images), metric=metric), images, metric=metric)


@pytest.mark.parametrize("normalize", ["rows", "columns"])
def test_planted_copies_and_outliers(photographs, normalize):
    rng = np.random.default_rng(0)
    images = photographs.copy()
    images[:, 5:10] = images[:, :5]
    images[:, 20:30:5] = rng.permuted(images[:, 20:30:5], axis=2)
    images[0, 40:44] = 0.0
    found = select_batch(torch.tensor(images), normalize=normalize)
    assert found.outliers.any()
    assert (found.scores[:, 5:10] == found.scores[:, :5]).all()
    assert not (found.support[:, 5:10] & found.support[:, :5]).any()
    if normalize == "rows":
        assert_is_that_of_each_image(found, images)


def test_standardized_descriptors():
    """Where the way of the solver for one image hangs on rounding, so does its answer, and ours is as near to it.

    Features are standardized descriptors of few dimensions, with which the solver has hard work. How much rounding
    matters to an image shows when its features are given in another unit.
    """
    rng = np.random.default_rng(0)
    images = rng.normal(size=(12, 5, 36))[:, rng.integers(0, 5, 60)] * 0.5 + rng.gamma(2.0, size=(12, 60, 36))
    images *= 10.0 ** rng.integers(-3, 4, 36)
    found = select_batch(torch.tensor(images), normalize="columns")
    exact = 0
    for i, image in enumerate(images):
        expected, other = (select_patches(scale * image, normalize="columns") for scale in (1.0, 7.3))
        wobble = np.abs(expected.scores - other.scores).max()
        error = np.abs(found.scores[i].numpy() - expected.scores).max()
        assert error <= 1e-3
        if wobble < 1e-12:
            exact += error <= 1e-8
            assert found.indices[i].tolist() == expected.indices.tolist()
    assert exact >= 8


@settings(max_examples=25)
@given(
    st.lists(
        embeddings(
            n_patches=(1, 25), n_features=(30, 30), structures=("normal", "rectified"), copies=False, zero_rows=False
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([{}, {"rate": "auto"}, {"coverage": None, "keep": "high"}, {"metric": "cosine", "rate": 0.8}]),
)
def test_padding_changes_nothing_whatever_is_in_it(images, parameters):
    n = max(map(len, images))
    padded = np.full((len(images), n, 30), np.nan)
    for row, image in zip(padded, images, strict=True):
        row[: len(image)] = image
    sizes = [len(image) for image in images]
    found = select_batch(torch.tensor(padded), torch.tensor(sizes), **parameters)
    for i, image in enumerate(images):
        alone, m = select_batch(torch.tensor(image)[None], **parameters), len(image)
        torch.testing.assert_close(found.scores[i, :m], alone.scores[0], rtol=0, atol=1e-9)
        assert found.scores[i, m:].isnan().all() and (found.ranking[i, m:] == -1).all()
        assert not found.support[i, m:].any() and not found.outliers[i, m:].any()
        k = alone.indices.shape[1]
        assert found.indices[i, :k].tolist() == alone.indices[0].tolist()
        assert (found.indices[i, k:] == -1).all() and not found.weights[i, k:].any()
        torch.testing.assert_close(found.weights[i, :k], alone.weights[0], rtol=0, atol=1e-8)


@settings(max_examples=30)
@given(
    embeddings(n_patches=(2, 25)), st.sampled_from(METRICS), st.sampled_from(["rows", "columns"]), st.integers(0, 99)
)
def test_permuting_patches_permutes_the_answer_to_the_last_bit(E, metric, normalize, seed):
    order = torch.randperm(len(E), generator=torch.Generator().manual_seed(seed))
    E = torch.tensor(E)
    both = [select_batch(e[None], metric=metric, normalize=normalize) for e in (E, E[order])]
    assert (both[1].scores[0] == both[0].scores[0, order]).all()
    # Copies are alike: which of them is kept goes by their places.
    kept = [sorted(map(tuple, e[s.support[0]].tolist())) for e, s in zip((E, E[order]), both, strict=True)]
    assert kept[0] == kept[1]


def test_order_of_the_batch_does_not_matter(photographs):
    order = [3, 0, 5, 1, 2, 4]
    E = torch.tensor(photographs)
    found, permuted = select_batch(E), select_batch(E[order])
    assert (permuted.ranking == found.ranking[order]).all() and (permuted.indices == found.indices[order]).all()
    torch.testing.assert_close(permuted.scores, found.scores[order], rtol=0, atol=1e-10)
    torch.testing.assert_close(permuted.weights, found.weights[order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [7.3, 1e-6, 2.0**40, 1e-200, 1e200])
def test_scale_changes_nothing(photographs, scale):
    E = torch.tensor(photographs, dtype=torch.float64)
    found, scaled = select_batch(E), select_batch(scale * E)
    assert (scaled.ranking == found.ranking).all()
    torch.testing.assert_close(scaled.scores, found.scores, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32])
def test_numbers_count_as_what_they_are(photographs, dtype):
    """Whatever holds the numbers, what is computed is what float64 holding them gives, to the last bit."""
    E = torch.tensor(1000 * photographs).to(dtype)
    found, expected = select_batch(E), select_batch(E.to(torch.float64))
    for name, value in vars(expected).items():
        assert (getattr(found, name) == value).all() and getattr(found, name).dtype == value.dtype


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("normalize", ["rows", "columns", None])
def test_single_precision_and_its_proof_in_double(photographs, normalize, scale):
    E = (scale * photographs).astype(np.float32)
    found = select_batch(torch.tensor(E), normalize=normalize, tol=1e-6)
    for i, image in enumerate(E):
        expected = select_patches(image, normalize=normalize, tol=1e-6)
        k = len(expected.indices)
        assert found.indices[i, :k].tolist() == expected.indices.tolist() and found.n_kept[i] == k
        np.testing.assert_allclose(found.scores[i], expected.scores, atol=1e-4)
        one = select_patches(torch.tensor(image), normalize=normalize, tol=1e-6)
        gap, W = one.solution.dual_gap, one.solution.W
        assert float(one.problem.dual_gap(W)) == pytest.approx(gap, rel=1e-3, abs=1e-11 * one.solution.objective)
        assert gap <= 1e-6 * one.solution.objective


@pytest.mark.parametrize("parameters", [{}, {"rate": "auto"}, {"coverage": None, "rate": 0.3}], ids=str)
def test_patches_that_count_differently(photographs, parameters):
    counts = np.random.default_rng(0).integers(0, 4, photographs.shape[:2])
    parameters = {"outlier_threshold": 2.0, **parameters}
    found = select_batch(torch.tensor(photographs), counts=torch.tensor(counts), **parameters)
    defaults = {"h": 10, "metric": "euclidean", "alpha": 0.1, "beta": 0.3, "bandwidth": 4.0}
    defaults |= {"solver": "exact", "tol": 1e-3, "max_iter": 1000, "random_state": 0}
    chosen = {"rate": 0.45, "keep": "low", "coverage": "representatives", **parameters}
    for i, image in enumerate(photographs):
        patches = OrderedPatches(image)
        scores = score_patches(patches, **{name: defaults[name] for name in SOLUTION_PARAMETERS}).scores
        choice, _ = choose_patches(patches, scores, counts[i].astype(float), **chosen)
        k = choice.n_kept
        assert found.indices[i, :k].tolist() == choice.kept.tolist()
        np.testing.assert_allclose(found.weights[i, :k], choice.weights(counts[i].astype(float)), atol=1e-8)


@pytest.mark.parametrize("E", [torch.ones(2, 1, 4), torch.zeros(2, 6, 4), torch.ones(1, 6, 4), torch.eye(3)[None]])
@pytest.mark.parametrize("parameters", [{}, {"rate": "auto"}, {"normalize": "columns"}, {"metric": "cosine"}], ids=str)
def test_degenerate_images(E, parameters):
    found = select_batch(E, **parameters)
    assert found.scores.isfinite().all() and found.converged.all()
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(len(E), dtype=torch.float64))


def test_easy_and_hard_images_together(photographs):
    """An image without structure, whose target takes all columns there are, costs the others nothing."""
    images = photographs.copy()
    images[1] = 1.0
    images[3, 7:] = images[3, :1]
    assert_is_that_of_each_image(select_batch(torch.tensor(images)), images)


class Watch(TorchDispatchMode):
    """Count what waits for the device."""

    def __init__(self):
        super().__init__()
        self.counts = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


def test_data_stay_on_the_device(photographs):
    """Scalars that control loops come to the host: few, and as many for many images as for few. Nothing else does."""
    E = torch.tensor(photographs)
    select_batch(E)  # what is done once
    counts = []
    for batch in (E, torch.cat([E, E, E])):
        with Watch() as watch:
            select_batch(batch)
        counts.append(watch.counts)
    waiting = ("aten::_local_scalar_dense", "aten::nonzero", "aten::item")
    few, many = (sum(c[name] for name in waiting) for c in counts)
    assert few == many <= 7 * E.shape[1]
    # Three times as many images need no more calls: there is no loop over images. (Views are made or not by layout.)
    assert sum(counts[0].values()) - counts[0]["aten::view"] == sum(counts[1].values()) - counts[1]["aten::view"]


def test_every_tensor_is_made_where_the_batch_is(photographs):
    """Whatever the default device and type are: tensors on the device "meta" cannot be mixed with others."""
    E = torch.tensor(photographs)
    sizes = torch.tensor([60, 30, 60, 12, 50, 60])
    expected = {p: select_batch(E, sizes, **dict(p)) for p in ((), (("rate", "auto"),), (("metric", "mahalanobis"),))}
    device, dtype = torch.get_default_device(), torch.get_default_dtype()
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float16)
        for parameters, selection in expected.items():
            found = select_batch(E, sizes, **dict(parameters))
            for name, value in vars(selection).items():
                assert torch.equal(getattr(found, name).nan_to_num(), value.nan_to_num()), name
    finally:
        torch.set_default_device(device)
        torch.set_default_dtype(dtype)


def test_nothing_of_the_user_is_changed(photographs):
    E = torch.tensor(photographs, requires_grad=True)
    before, state = E.detach().clone(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        for n_jobs in (None, 2):
            found = select_batch(E, n_jobs=n_jobs)
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(E, before) and torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() and torch.get_float32_matmul_precision() == "highest"
    assert isinstance(found, BatchSelection) and not any(value.requires_grad for value in vars(found).values())


@pytest.mark.parametrize("parameters", [{}, {"normalize": "columns"}, {"metric": "cosine"}], ids=str)
def test_how_a_batch_is_cut_changes_nothing(photographs, parameters, monkeypatch):
    """Neither into batches that fit the memory, which threads work on, nor into groups that fit the caches."""
    E, sizes = torch.tensor(photographs), torch.tensor([60, 50, 60, 41, 60, 60])
    counts = torch.rand(6, 60, generator=torch.Generator().manual_seed(0)) + 0.1
    expected = select_batch(E, sizes, counts=counts, **parameters)
    for in_batch, in_group, n_jobs in ((6, 1, None), (4, 3, 2)):
        monkeypatch.setattr(patchdistill.batched.selection, "images_per_batch", lambda *_, n=in_batch: n)
        monkeypatch.setattr(patchdistill.batched.groups, "_GROUP_BYTES", in_group * E[0].numel() * 8)
        found = select_batch(E, sizes, counts=counts, n_jobs=n_jobs, **parameters)
        for name, value in vars(expected).items():
            if value.is_floating_point():
                atol = 1e-6 if "normalize" in parameters else 1e-9  # standardized features give the solver hard work
                torch.testing.assert_close(getattr(found, name), value, rtol=1e-6, atol=atol, equal_nan=True)
            elif name != "n_iter":  # which may hang on rounding then
                assert torch.equal(getattr(found, name), value), name


def test_late_images_are_told_once(photographs):
    with pytest.warns(ConvergenceWarning, match=r"6 of 6 images did not reach tol=1e-06 in 1 iterations \(largest gap"):
        found = select_batch(torch.tensor(photographs), tol=1e-6, max_iter=1)
    assert not found.converged.any()


E = torch.ones(2, 4, 3)


@pytest.mark.parametrize(
    ("arguments", "parameters", "message"),
    [
        ((E.numpy(),), {}, "E is a ndarray, but a tensor is needed"),
        ((E[0],), {}, r"E has shape \(4, 3\).*pass E\[None\]"),
        ((E[:0],), {}, r"E has shape \(0, 4, 3\)"),
        ((E[:, :, :0],), {}, r"E has shape \(2, 4, 0\)"),
        ((E * 1j,), {}, "embeddings have dtype torch.complex64"),
        ((E > 0,), {}, "embeddings have dtype torch.bool"),
        ((E.to("meta"),), {}, "E is on meta, which has no float64"),
        ((E, torch.tensor([4])), {}, r"n_patches has shape \(1,\).*one integer per image is needed, \(2,\)"),
        ((E, torch.tensor([4.0, 4.0])), {}, "n_patches .*dtype torch.float32"),
        ((E, torch.tensor([4, 5])), {}, "n_patches runs from 4 to 5; it must be within 1 and 4"),
        ((E, torch.tensor([0, 4])), {}, "n_patches runs from 0 to 4"),
        ((E.index_fill(1, torch.tensor([2]), math.nan),), {}, r"Input X contains NaN \(image 0, patch 2\)"),
        ((E.index_fill(0, torch.tensor([1]), math.inf),), {}, r"Input X contains infinity \(image 1, patch 0\)"),
        ((E,), {"counts": torch.ones(2, 3)}, r"counts has shape \(2, 3\).*\(2, 4\)"),
        ((E,), {"counts": torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])}, "counts of image 1 run from 0 to 0"),
        ((E,), {"counts": torch.tensor([[1, 1, 1, -1], [1, 1, 1, 1]])}, "counts of image 0 run from -1 to 1"),
        ((E,), {"metric": len}, "'metric' parameter of select_batch"),
        ((E,), {"h": 0}, "'h' parameter of select_batch.*Got 0"),
        ((E,), {"rate": 1.5}, "rate=1.5 is not valid"),
        ((E,), {"rate": "auto", "coverage": None}, "represents nothing"),
        ((E,), {"keep": "high"}, 'keep="high" keeps the worst'),
    ],
)
def test_wrong_input(arguments, parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        select_batch(*arguments, **parameters)


def test_numbers_whose_sum_overflows_are_finite():
    assert select_batch(torch.full((1, 3, 4), 60000.0, dtype=torch.float16)).converged.all()


def test_what_counts_must_not_all_be_outliers():
    rng = np.random.default_rng(0)
    images = np.abs(rng.normal(size=(3, 60)))[rng.integers(0, 3, (2, 80))] + 0.05 * rng.random((2, 80, 60))
    images[1, :6] = 5 * np.abs(rng.normal(size=(6, 60)))
    counts = np.ones((2, 80))
    counts[1, 6:] = 0.0
    with pytest.raises(ValueError, match="patches of image 1 that are no outliers all have weight 0"):
        select_batch(torch.tensor(images), counts=torch.tensor(counts))
