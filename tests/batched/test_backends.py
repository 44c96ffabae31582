import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")

from patchdistill import PatchBags, ResidualPatchSelector, SinglePatchBagWarning, select_patches  # noqa: E402
from patchdistill.batched import chunks  # noqa: E402
from patchdistill.testing import parametrize_with_bag_checks  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.filterwarnings("ignore::patchdistill.SinglePatchBagWarning")
@parametrize_with_checks([ResidualPatchSelector(backend="torch")])
def test_scikit_learn_battery(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@parametrize_with_bag_checks(
    [ResidualPatchSelector(backend="torch")],
    expected_failed_checks=lambda estimator: {"check_cache_changes_nothing": "nothing is cached, and memory refused"},
)
def test_bag_battery(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def ragged(photographs):
    """Images of different sizes, not in their order."""
    return [image[:n] for image, n in zip(photographs, (31, 60, 7, 58, 33, 60), strict=True)]


def attributes(selector):
    return {name: value for name, value in vars(selector).items() if name.endswith("_") and not name.startswith("_")}


def assert_alike(found, expected):
    """The same patches and, but for rounding, the same numbers, of the same kinds."""
    assert attributes(found).keys() == attributes(expected).keys()
    for name, value in attributes(expected).items():
        other = getattr(found, name)
        assert type(other) is type(value), name
        if not isinstance(value, list):
            np.testing.assert_allclose(other, value, rtol=1e-6, atol=1e-9)
            continue
        for a, b in zip(other, value, strict=True):
            assert isinstance(a, np.ndarray) and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("parameters", [{}, {"rate": "auto"}, {"coverage": None}, {"normalize": None, "h": 3}], ids=str)
def test_both_backends_learn_the_same(ragged, parameters):
    expected = ResidualPatchSelector(**parameters).fit(ragged)
    assert_alike(ResidualPatchSelector(backend="torch", **parameters).fit(ragged), expected)
    assert_alike(ResidualPatchSelector(**parameters).fit([torch.tensor(image) for image in ragged]), expected)


def test_arrays_in_arrays_out(ragged, photographs):
    selector, expected = ResidualPatchSelector(backend="torch", device="cpu"), ResidualPatchSelector()
    for X in (ragged, photographs, PatchBags.from_list(ragged, fields={"tag": [np.arange(len(r)) for r in ragged]})):
        out, reference = selector.fit_transform(X), expected.fit_transform(X)
        assert type(out) is type(reference) and len(out) == len(reference)
        for a, b in zip(out, reference, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        for a, b in zip(selector.score_samples(X), expected.score_samples(X), strict=True):
            assert isinstance(a, np.ndarray)
            np.testing.assert_allclose(a, b, atol=1e-10)
    assert out.fields.keys() == reference.fields.keys() == {"patch_index", "tag", "weights"}
    np.testing.assert_array_equal(out.field("tag", 2), reference.field("tag", 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_tensors_in_tensors_out(ragged, photographs, dtype):
    selector = ResidualPatchSelector(rate=0.3)
    stack = torch.tensor(photographs).to(dtype)
    out = selector.fit_transform(stack)
    assert out.dtype == dtype and out.shape == (6, 18, 256)
    for image, kept, idx in zip(stack, out, selector.selected_idx_, strict=True):
        assert torch.equal(kept, image[torch.tensor(idx)])
    assert torch.equal(selector.transform(stack), out)
    assert selector.score_samples(stack).shape == (6, 60)
    images = [torch.tensor(image).to(dtype) for image in ragged]
    out = selector.fit_transform(images)
    assert isinstance(out, list) and [len(kept) for kept in out] == [10, 18, 3, 18, 10, 18]
    for image, kept, idx in zip(images, out, selector.selected_idx_, strict=True):
        assert kept.dtype == dtype and torch.equal(kept, image[torch.tensor(idx)])
    scores = selector.score_samples(images)
    assert all(isinstance(s, torch.Tensor) and len(s) == len(image) for s, image in zip(scores, images, strict=True))


def test_a_pipeline_of_tensors(photographs):
    stack = torch.tensor(photographs)
    pipeline = make_pipeline(ResidualPatchSelector(rate=20), clone(ResidualPatchSelector(rate=5)))
    assert pipeline.fit_transform(stack).shape == (6, 5, 256)


def test_a_table_of_tensors_warns():
    X = torch.eye(4)
    with pytest.warns(SinglePatchBagWarning, match=r"\[X\]"):
        selector = ResidualPatchSelector().fit(X)
    with pytest.warns(SinglePatchBagWarning):
        assert torch.equal(selector.transform(X), X)
    with pytest.warns(SinglePatchBagWarning):
        assert selector.score_samples(X).shape == (4,)


def test_weights_that_come_in_are_used(ragged):
    rng = np.random.default_rng(0)
    bags = PatchBags.from_list(ragged, fields={"weights": [rng.integers(0, 5, len(r)) + 0.5 for r in ragged]})
    assert_alike(ResidualPatchSelector(backend="torch").fit(bags), ResidualPatchSelector().fit(bags))


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_how_images_are_cut_into_batches_changes_nothing(ragged, size, monkeypatch):
    images = [torch.tensor(image) for image in ragged]
    expected = ResidualPatchSelector().fit(images)
    sizes = []

    def counting(E, *arguments, **parameters):
        sizes.append(tuple(E.shape[:2]))
        return select(E, *arguments, **parameters)

    select = chunks.select
    monkeypatch.setattr(chunks, "select", counting)
    monkeypatch.setattr(chunks, "images_per_batch", lambda *_: size)
    assert_alike(ResidualPatchSelector().fit(images), expected)
    assert max(n for n, _ in sizes) <= size and sum(n for n, _ in sizes) == 6
    assert sizes == sorted(sizes, key=lambda shape: -shape[1])  # the largest first: what fits, fits them all
    if size == 100:
        assert sizes == [(3, 60), (2, 33), (1, 7)]  # little padding


def test_batches_fit_the_memory():
    cpu = torch.device("cpu")
    assert chunks.images_per_batch(10**5, 10**4, cpu) == 1
    many, few = (chunks.images_per_batch(n, 2048, cpu) for n in (30, 180))
    assert many > few > 1


def flatten(patches):
    return patches.reshape(len(patches), -1) / 255


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_an_embedding_maps_tensors(backend):
    generator = torch.Generator().manual_seed(0)
    pixels = [torch.randint(0, 256, (n, 8, 8, 3), dtype=torch.uint8, generator=generator) for n in (12, 9)]
    selector = ResidualPatchSelector(embedding=flatten, rate=0.5, backend=backend)
    kept = selector.fit_transform(pixels)
    plain = ResidualPatchSelector(rate=0.5).fit([flatten(pool.numpy()) for pool in pixels])
    assert selector.n_features_in_ == 192
    for out, pool, expected in zip(kept, pixels, plain.selected_idx_, strict=True):
        assert out.dtype == torch.uint8 and torch.equal(out, pool[torch.tensor(expected)])
    with pytest.raises(ValueError, match="X has 48 features, but ResidualPatchSelector is expecting 192"):
        selector.transform([pool[:, :4, :4] for pool in pixels])
    selection = select_patches(pixels[0], embedding=flatten, rate=0.5)
    np.testing.assert_array_equal(selection.indices, plain.selected_idx_[0])


def test_an_embedding_may_make_tensors_of_arrays():
    """As a network does, which keeps its gradients too."""
    weights = torch.rand(192, 20, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def network(patches):
        return torch.as_tensor(flatten(patches), dtype=torch.float32) @ weights

    pixels = np.random.default_rng(0).integers(0, 256, (2, 15, 8, 8, 3), dtype=np.uint8)
    kept = ResidualPatchSelector(embedding=network, backend="torch", rate=0.2).fit_transform(pixels)
    assert kept.shape == (2, 3, 8, 8, 3) and kept.dtype == np.uint8
    selection = select_patches(pixels[0], embedding=network, backend="torch", rate=0.2)
    np.testing.assert_array_equal(pixels[0][selection.indices], kept[0])
    with pytest.raises(ValueError, match=r"embedding returned.*15 patches.*\(15, n_features\)"):
        select_patches(pixels[0], embedding=lambda p: torch.ones(14, 3), backend="torch")


@pytest.mark.parametrize("normalize", ["rows", "columns", None])
def test_one_image(photographs, normalize):
    expected = select_patches(photographs[0], normalize=normalize, tol=1e-6)
    arrays = select_patches(photographs[0], normalize=normalize, tol=1e-6, backend="torch")
    tensors = select_patches(torch.tensor(photographs[0]), normalize=normalize, tol=1e-6)
    for found, kind in ((arrays, np.ndarray), (tensors, torch.Tensor)):
        for name in ("indices", "weights", "outliers", "ranking", "scores"):
            value = getattr(found, name)
            assert isinstance(value, kind)
            np.testing.assert_allclose(value, getattr(expected, name), atol=1e-5)
        solution, W = found.solution, found.solution.W
        assert isinstance(W, kind) and W.shape == expected.solution.W.shape
        # What proves it can be computed again, from coefficients and problem alone.
        assert np.isclose(found.problem.objective(W), solution.objective, rtol=1e-12)
        assert np.isclose(found.problem.dual_gap(W), solution.dual_gap, atol=1e-11 * solution.objective)
        assert np.isclose(solution.objective, expected.solution.objective, rtol=2e-6)
        U = found.problem.misfit(W)
        np.testing.assert_allclose(solution.R, U - found.problem.clip(U), atol=1e-10)
        np.testing.assert_allclose(solution.residual_norms, np.linalg.norm(U, axis=1), atol=1e-10)
        np.testing.assert_allclose(
            found.problem.Z @ found.problem.Z.T, expected.problem.Z @ expected.problem.Z.T, atol=1e-8
        )
        assert np.isclose(float(found.problem.alpha), expected.problem.alpha)
    assert isinstance(arrays.problem, type(expected.problem))


def test_late_images_are_told_in_one_warning_with_their_numbers(ragged):
    with pytest.warns(ConvergenceWarning, match=r"6 of 6 images did not reach tol=1e-09 .* at image \d\)") as caught:
        ResidualPatchSelector(backend="torch", tol=1e-9, max_iter=1).fit(ragged)
    assert len(caught) == 1
    with pytest.warns(ConvergenceWarning, match="1 of 1 image did not reach"):
        select_patches(torch.tensor(ragged[0]), tol=1e-9, max_iter=1)


T = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("X", "parameters", "message"),
    [
        ([T], {"backend": "numpy"}, 'backend="numpy" does not take tensors. Use backend="auto"'),
        ([T.numpy()], {"device": "cpu"}, "device='cpu' was given.*Use backend=\"torch\""),
        ([T.numpy()], {"device": "cpu", "backend": "numpy"}, "device='cpu' was given"),
        ([T], {"solver": "published"}, "solver='published' cannot be used with PyTorch"),
        ([T], {"metric": np.ones_like}, "metric=<.*> cannot be used with PyTorch"),
        ([T.numpy()], {"memory": "x", "solver": "published", "backend": "torch"}, "solver='published' and memory='x'"),
        ([T], {"device": "quantum"}, "device='quantum' is unknown; use None"),
        ([T], {"device": 1.5}, "device=1.5 is unknown"),
        ([T], {"device": "meta"}, "device='meta' cannot be used"),
        ([T], {"backend": "jax"}, "'backend' parameter of .*'jax'"),
    ],
)
def test_wrong_parameters(X, parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ResidualPatchSelector(**parameters).fit(X)
    with pytest.raises((ValueError, TypeError), match=message):
        select_patches(X[0], **parameters)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([T, T.numpy()], "Image 1 is a ndarray, but image 0 is a tensor"),
        ([T, T[:0]], r"Image 1 has shape \(0, 3\)"),
        ([T, T[0]], r"Image 1 has shape \(3,\)"),
        ([T, T[:, :2]], "Image 1 has 2 features, but the other images have 3"),
        ([T, T.to("meta")], "Image 1 is on meta, but image 0 is on cpu"),
        (torch.ones(0, 4, 3), r"X has shape \(0, 4, 3\)"),
        (torch.ones(3), r"X has shape \(3,\)"),
        ([T, T * torch.nan], r"Input X contains NaN \(image 1, patch 0\)"),
        ([T * 1j], "dtype torch.complex64"),
        ([T > 0], "dtype torch.bool"),
    ],
)
def test_wrong_tensors(X, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ResidualPatchSelector().fit(X)


@pytest.mark.parametrize("E", [torch.ones(4), torch.ones(2, 4, 3), torch.ones(0, 3), T * 1j, T * torch.inf])
def test_wrong_image(E):
    with pytest.raises((ValueError, TypeError)):
        select_patches(E)


def test_features_are_counted(ragged):
    selector = ResidualPatchSelector().fit([torch.tensor(image) for image in ragged])
    with pytest.raises(ValueError, match="X has 7 features, but ResidualPatchSelector is expecting 256 features"):
        selector.transform([torch.ones(5, 7)])


def test_images_that_keep_different_numbers_make_no_tensor(photographs):
    stack = torch.tensor(photographs)
    stack[0] = 1.0
    with pytest.raises(ValueError, match=r"The images keep 1 to \d+ patches.*list\(X\)"):
        ResidualPatchSelector(rate="auto").fit_transform(stack)
    assert len(ResidualPatchSelector(rate="auto").fit_transform(list(stack))[0]) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda", 3)])
def test_cuda_that_is_not_there(device, photographs):
    for call in (select_patches, ResidualPatchSelector.fit):
        with pytest.raises(ValueError, match="was asked for, but PyTorch finds 0 CUDA devices"):
            if call is select_patches:
                select_patches(photographs[0], backend="torch", device=device)
            else:
                ResidualPatchSelector(backend="torch", device=device).fit(photographs)


def run(script, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_work_on_the_cpu_touches_no_gpu_and_arrays_need_no_torch():
    script = """
import sys
import numpy as np
import patchdistill
X = np.random.default_rng(0).random((2, 20, 30))
patchdistill.ResidualPatchSelector().fit_transform(X)
patchdistill.select_patches(X[0])
assert "torch" not in sys.modules
patchdistill.ResidualPatchSelector(backend="torch").fit_transform(X)
import torch
patchdistill.ResidualPatchSelector().fit_transform(torch.tensor(X))
assert not torch.cuda.is_initialized()
"""
    result = run(script)
    assert result.returncode == 0, result.stderr


def test_where_torch_is_missing_it_says_how_to_get_it(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('hidden')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    for call in ("ResidualPatchSelector(backend='torch').fit([X])", "select_patches(X, backend='torch')"):
        result = run(f"import numpy as np, patchdistill; X = np.eye(4); patchdistill.{call}", PYTHONPATH=path)
        assert 'backend="torch" needs PyTorch. Install it with:\npip install "patchdistill[torch]"' in result.stderr
