import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from patchdistill import PatchBags, ResidualPatchSelector, select_patches
from patchdistill.baselines import RandomPatchSelector
from patchdistill.models import BagPooling
from patchdistill.models.fixed_k import FixedK
from patchdistill.models.sequences import SequenceSelector
from patchdistill.testing.strategies import patch_bags

PARAMS = {"h": 3, "rate": 0.4}


def label(X, seed=0, labels=("left", "middle", "right"), **fields):
    """Sequences whose patches lie anywhere in their image."""
    drawn = np.random.default_rng(seed).choice(labels, len(X.values))
    return X.with_values(X.values, sequence=drawn, **fields)


def scan_paths(n_images=24, n_sequences=3, n_views=12, seed=0):
    """Sequences that lie one after another, as the models of scan-paths read them."""
    rng = np.random.default_rng(seed)
    n = n_sequences * n_views
    sequence = np.tile(np.repeat(np.arange(n_sequences), n_views), n_images)
    return PatchBags(rng.random((n_images * n, 8)), np.arange(n_images + 1) * n, fields={"sequence": sequence})


def sequences_of(X, i):
    labels = X.field("sequence", i)
    return [np.flatnonzero(labels == one) for one in np.unique(labels)]


def assert_same_bags(one, other):
    assert_array_equal(one.offsets, other.offsets)
    assert_array_equal(one.values, other.values)
    assert_array_equal(one.ids, other.ids)
    assert set(one.fields) == set(other.fields)
    for name in one.fields:
        assert_array_equal(one.fields[name], other.fields[name])


@settings(max_examples=50)
@given(patch_bags(n_patches=(1, 30)), st.integers(0, 99), st.sampled_from([(0, 1, 2), (7,), ("a", "b"), (-1, 300)]))
def test_is_the_function_for_every_sequence(X, seed, labels):
    X = label(X, seed, labels)
    selector = SequenceSelector(ResidualPatchSelector(**PARAMS))
    kept = selector.fit_transform(X)
    for i, image in enumerate(X):
        weights = np.zeros(len(image))
        for sequence in sequences_of(X, i):
            selection = select_patches(image[sequence], **PARAMS)
            weights[sequence[selection.indices]] = selection.weights * len(sequence) / len(image)
        selected = np.flatnonzero(weights)
        assert_array_equal(selector.selected_idx_[i], selected)
        assert_allclose(kept.field("weights", i), weights[selected], rtol=1e-12)
        assert_allclose(kept.field("weights", i).sum(), 1)
        assert_array_equal(kept[i], image[selected])
        for name in X.fields:
            assert_array_equal(kept.field(name, i), X.field(name, i)[selected])
    assert_array_equal(kept.ids, X.ids)


@settings(max_examples=50)
@given(patch_bags(n_patches=(1, 30)), st.integers(0, 99))
def test_weights_that_images_came_with_are_the_shares(X, seed):
    own = np.random.default_rng(seed).uniform(0.125, 8, len(X.values))
    X = label(X, seed, weights=own)
    kept = SequenceSelector(ResidualPatchSelector(**PARAMS)).fit_transform(X)
    for i, image in enumerate(X):
        own, weights = X.field("weights", i), np.zeros(len(image))
        for sequence in sequences_of(X, i):
            alone = PatchBags(image[sequence], [0, len(sequence)], fields={"weights": own[sequence]})
            selector = ResidualPatchSelector(**PARAMS).fit(alone)
            weights[sequence[selector.selected_idx_[0]]] = selector.weights_[0] * own[sequence].sum() / own.sum()
        assert_allclose(kept.field("weights", i), weights[weights > 0], rtol=1e-9)


def test_an_image_of_one_sequence_is_selected_as_a_whole():
    X = PatchBags.from_list([np.random.default_rng(n).random((n, 6)) for n in (20, 9)])
    kept = SequenceSelector(ResidualPatchSelector()).fit_transform(label(X, labels=[5]))
    expected = ResidualPatchSelector().fit_transform(X)
    assert_array_equal(kept.values, expected.values)
    assert_allclose(kept.fields["weights"], expected.fields["weights"])


def test_all_sequences_go_in_one_call():
    calls = []

    class Counting(RandomPatchSelector):
        def _choose(self, bags):
            calls.append(len(bags))
            return super()._choose(bags)

    X = scan_paths(n_images=4)
    selector = SequenceSelector(Counting())
    selector.fit_transform(X)
    assert calls == [12]
    selector.transform(X)
    assert calls == [12, 12]
    selector.fit(X)
    assert calls == [12, 12, 12]


def test_a_number_gives_a_fixed_shape():
    X = scan_paths(n_images=2)
    kept = SequenceSelector(ResidualPatchSelector(rate=5)).fit_transform(X)
    assert_array_equal(kept.fields["sequence"].reshape(2, 3, 5), np.broadcast_to([[0], [1], [2]], (2, 3, 5)))
    assert (np.diff(kept.fields["patch_index"].reshape(2, 3, 5), axis=2) > 0).all()
    assert_allclose(kept.fields["weights"].reshape(6, 5).sum(axis=1), 1 / 3)


@pytest.mark.filterwarnings("ignore:rate=5 asks for more patches than 2 of 4 images")
def test_short_sequences_can_be_padded():
    X = PatchBags.from_list(
        [np.random.default_rng(0).random((10, 4))] * 2, fields={"sequence": [np.repeat(["a", "b"], [7, 3])] * 2}
    )
    selector = SequenceSelector(make_pipeline(ResidualPatchSelector(rate=5), FixedK(5)))
    kept = selector.fit_transform(X)
    assert_array_equal(kept.n_patches, [10, 10])
    for i in range(2):
        assert_array_equal(kept.field("patch_index", i)[5:], [7, 7, 8, 8, 9])
        assert_array_equal(kept.field("patch_index", i), selector.selected_idx_[i])
        assert_allclose(kept.field("weights", i)[5:].sum(), 0.3)


def test_the_images_are_taken_as_they_came():
    """What comes before the selector among its own steps decides, but stays there."""

    class Reversing(RandomPatchSelector):
        def fit_transform(self, X, y=None):
            return super().fit_transform(X.with_values(-X.values, lost=np.zeros(len(X.values))))

    X = scan_paths(n_images=2)
    selector = SequenceSelector(Reversing(rate=4))
    kept = selector.fit_transform(X)
    assert_array_equal(kept.values, X.take(selector.selected_idx_).values)
    assert set(kept.fields) == {"patch_index", "sequence", "weights"}


def test_fit_and_transform_agree():
    X = label(scan_paths(n_images=5), seed=1)
    selector = SequenceSelector(ResidualPatchSelector(rate=0.3))
    both = selector.fit_transform(X)
    assert_same_bags(both, clone(selector).fit(X).transform(X))
    one_by_one = [selector.transform(X[i : i + 1]) for i in range(5)]
    assert_array_equal(np.concatenate([one.values for one in one_by_one]), both.values)
    assert len(selector.selected_idx_) == 5


def test_weights_of_a_selector_without_them_are_alike():
    X = scan_paths(n_images=2, n_views=4)
    assert_allclose(SequenceSelector(FixedK(4)).fit_transform(X).fields["weights"], 1 / 12)


def test_another_field_can_hold_the_sequences():
    X = scan_paths(n_images=3)
    renamed = PatchBags(X.values, X.offsets, fields={"scan_path": X.fields["sequence"]})
    kept = SequenceSelector(RandomPatchSelector(), field="scan_path").fit_transform(renamed)
    assert_array_equal(kept.values, SequenceSelector(RandomPatchSelector()).fit_transform(X).values)


def test_values_on_disk_are_read_from_there(tmp_path):
    X = label(scan_paths(n_images=3))
    np.save(tmp_path / "views.npy", X.values)
    stored = X.with_values(np.load(tmp_path / "views.npy", mmap_mode="r"))
    selector = SequenceSelector(ResidualPatchSelector())
    assert_same_bags(selector.fit_transform(stored), selector.fit_transform(X))


def test_refuses_what_has_no_sequences():
    selector = SequenceSelector(ResidualPatchSelector())
    X = scan_paths(n_images=2)
    for images in (X.to_list(), np.ones((2, 3, 4)), [[1.0]]):
        with pytest.raises(TypeError, match="needs PatchBags with the field 'sequence'; got (list|ndarray)"):
            selector.fit(images)
    with pytest.raises(ValueError, match=r"X has no field 'path'; there are \['patch_index', 'sequence'\]. Add it"):
        SequenceSelector(ResidualPatchSelector(), field="path").fit(X)
    selector.fit(X)
    with pytest.raises(TypeError, match=r"PatchBags.from_list\(images, fields={'sequence': labels}\)"):
        selector.transform(X.to_list())


@pytest.mark.parametrize("labels", [np.zeros(6), np.zeros((6, 2), int), np.array(list("aabbcc"), dtype=object)])
def test_refuses_other_labels(labels):
    X = PatchBags(np.ones((6, 2)), [0, 6], fields={"sequence": labels})
    with pytest.raises(ValueError, match="Field 'sequence' has shape .* and dtype .* one int or string per patch"):
        SequenceSelector(ResidualPatchSelector()).fit(X)


def test_refuses_sequences_without_weight():
    fields = {"sequence": ["a", "a", "b", "a", "b", "b"], "weights": [1, 1, 1, 1, 0, 0]}
    X = PatchBags(np.ones((6, 2)), [0, 3, 6], fields=fields)
    with pytest.raises(ValueError, match="The weights of sequence b of image 1 are all 0"):
        SequenceSelector(RandomPatchSelector()).fit(X)
    negative = X.with_values(X.values, weights=[1, 1, 1, 1, 1, -1])
    with pytest.raises(ValueError, match=r"The weights of image 1 have shape \(3,\)"):
        SequenceSelector(RandomPatchSelector()).fit(negative)


def test_refuses_what_is_no_selector():
    with pytest.raises(TypeError, match="BagPooling gave ndarray for PatchBags, but a selector gives them back"):
        SequenceSelector(BagPooling()).fit(scan_paths(n_images=2))


@pytest.mark.parametrize("params", [{"selector": Ridge()}, {"selector": None}, {"field": 3}])
def test_refuses_other_parameters(params):
    with pytest.raises(ValueError, match="'(selector|field)' parameter of SequenceSelector must be"):
        SequenceSelector(ResidualPatchSelector()).set_params(**params).fit(scan_paths(n_images=2))


def test_errors_of_the_selector_come_through():
    X = scan_paths(n_images=2)
    with pytest.raises(ValueError, match="rate=0 is not valid"):
        SequenceSelector(ResidualPatchSelector(rate=0)).fit(X)
    fitted = SequenceSelector(ResidualPatchSelector()).fit(X)
    with pytest.raises(ValueError, match="X has 3 features, but ResidualPatchSelector is expecting 8 features"):
        fitted.transform(X.with_values(X.values[:, :3]))


def test_is_an_estimator():
    X = scan_paths(n_images=3)
    selector = SequenceSelector(ResidualPatchSelector(rate=4))
    with pytest.raises(NotFittedError):
        selector.transform(X)
    kept = selector.fit_transform(X)
    assert not hasattr(selector.selector, "selected_idx_")
    assert len(selector.selector_.selected_idx_) == 9
    assert not hasattr(clone(selector), "selector_")
    assert_same_bags(pickle.loads(pickle.dumps(selector)).transform(X), kept)
    assert_array_equal(clone(selector).set_params(selector__rate=2).fit_transform(X).n_patches, [6, 6, 6])
    with pytest.raises(ValueError, match="no dataframe form"):
        selector.set_output(transform="pandas")


def test_pipeline_in_cross_validation():
    X = scan_paths()
    y, scenes = np.random.default_rng(1).random(24), np.repeat(np.arange(8), 3)
    model = make_pipeline(
        SequenceSelector(ResidualPatchSelector(rate=5)), FixedK(15, fill="error"), BagPooling(), Ridge()
    )
    scores = cross_val_score(model, X, y, groups=scenes, cv=GroupKFold(4))
    pooled = BagPooling().fit_transform(SequenceSelector(ResidualPatchSelector(rate=5)).fit_transform(X))
    assert_allclose(scores, cross_val_score(Ridge(), pooled, y, groups=scenes, cv=GroupKFold(4)))
    search = GridSearchCV(model, {"sequenceselector__selector__rate": [5]}, cv=GroupKFold(4)).fit(X, y, groups=scenes)
    assert_allclose(search.best_score_, scores.mean())
