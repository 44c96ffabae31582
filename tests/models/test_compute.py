import json
import time

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from patchdistill import ResidualPatchSelector
from patchdistill.models import BagPooling, PatchwiseRegressor, compute_report

RNG = np.random.default_rng(0)
IMAGES, LABELS = list(RNG.random((4, 20, 8))), np.arange(4.0)


class Slow(TransformerMixin, BaseEstimator):
    def __init__(self, seconds=0.05):
        self.seconds = seconds

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        time.sleep(self.seconds)
        return X

    def __sklearn_is_fitted__(self):
        return True


PIPELINE = Pipeline(
    [
        ("slow", Slow()),
        ("nothing", "passthrough"),
        ("select", ResidualPatchSelector(rate=0.5)),
        ("model", PatchwiseRegressor(Ridge())),
    ]
)


def test_stages_and_phases_in_order():
    report = compute_report(PIPELINE, IMAGES, LABELS)
    stages = [(cost.variant, cost.phase, cost.stage) for cost in report.stages]
    kept, everything = ("slow", "select", "model"), ("slow", "model")
    assert stages == [
        *(("kept patches", phase, stage) for phase in ("training", "inference") for stage in kept),
        *(("all patches", phase, stage) for phase in ("training", "inference") for stage in everything),
    ]


def test_seconds_are_those_of_the_stage():
    report = compute_report(PIPELINE, IMAGES, LABELS, repeats=3)
    for variant in report.variants:
        for phase in ("training", "inference"):
            assert report.seconds(variant, phase, "slow") >= 0.05
        parts = sum(cost.seconds for cost in report.stages if cost.variant == variant)
        assert report.seconds(variant) == pytest.approx(parts)
    expected = report.seconds("kept patches") / report.seconds("all patches")
    assert report.ratio() == pytest.approx(expected)


def test_without_labels_inference_of_a_fitted_pipeline():
    fitted = Pipeline(PIPELINE.steps).fit(IMAGES, LABELS)
    report = compute_report(fitted, IMAGES)
    assert {cost.phase for cost in report.stages} == {"inference"}


def test_the_median_time_is_taken_and_operations_are_counted_in_a_run_of_their_own():
    runs = []

    class Irregular(Slow):
        def fit_transform(self, X, y=None):
            runs.append(y)
            time.sleep([0.0, 0.3, 0.1, 0.2][len(runs) - 1])
            return X

    pipeline = make_pipeline(Irregular(0.0), BagPooling(), Ridge())
    report = compute_report({"it": pipeline}, IMAGES, LABELS, repeats=3)
    assert len(runs) == 4
    assert 0.2 <= report.seconds("it", "training", "irregular") < 0.3
    runs.clear()
    report = compute_report({"it": pipeline}, IMAGES, LABELS, repeats=2, count_flops=False)
    assert len(runs) == 2
    assert all(cost.flops is None for cost in report.stages)


def test_the_pipeline_is_not_fitted():
    pipeline = make_pipeline(ResidualPatchSelector(), BagPooling(), Ridge())
    compute_report(pipeline, IMAGES, LABELS)
    assert not hasattr(pipeline[-1], "coef_")


def test_parameters_of_fit_reach_their_step():
    class Needy(Ridge):
        def fit(self, X, y, groups):
            seen.append(groups)
            return super().fit(X, y)

    seen = []
    pipeline = Pipeline([("pool", BagPooling()), ("model", Needy())])
    compute_report({"it": pipeline}, IMAGES, LABELS, fit_params={"model__groups": "scenes"})
    assert seen == ["scenes"] * 2


def test_pipelines_of_your_own():
    slow = make_pipeline(Slow(0.2), BagPooling(), Ridge())
    fast = make_pipeline(BagPooling(), Ridge())
    report = compute_report({"slow": slow, "fast": fast}, IMAGES, LABELS)
    assert report.variants == ["slow", "fast"]
    assert report.ratio("fast", "slow") < 0.5


def test_can_be_written_down():
    report = compute_report(PIPELINE, IMAGES, LABELS)
    rows = json.loads(json.dumps(report.to_dict()))["stages"]
    assert len(rows) == len(report.stages)
    lines = str(report).splitlines()
    assert len(lines) == 1 + len(rows) + 2
    assert "not counted" in lines[1]


def test_operations_are_those_of_the_network():
    torch = pytest.importorskip("torch")
    from patchdistill.embedding import TorchEmbedder
    from patchdistill.models import FrozenModuleRegressor

    # A multiplication and an addition per weight and place: 3 x 3 x 3 inputs, 4 filters, 6 x 6 places, per patch.
    of_patch = 2 * 27 * 4 * 36
    pools = [RNG.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8) for _ in range(4)]
    score = torch.nn.Linear(4, 1)
    pipeline = Pipeline(
        [
            ("embed", TorchEmbedder(torch.nn.Conv2d(3, 4, 3))),
            ("select", ResidualPatchSelector(h=3, rate=0.5)),
            ("model", FrozenModuleRegressor(score)),
        ]
    )
    report = compute_report(pipeline, pools, LABELS)
    assert report.flops("all patches", "inference", "embed") == 40 * of_patch
    assert report.flops("kept patches", "inference", "embed") == 40 * of_patch
    assert report.flops("all patches", "inference", "model") == 40 * 2 * 4
    assert report.flops("kept patches", "inference", "model") == 20 * 2 * 4
    assert next(cost for cost in report.stages if cost.stage == "select").flops is None


def test_training_counts_the_way_back():
    torch = pytest.importorskip("torch")
    pytest.importorskip("skorch")
    from patchdistill.models import BagNetRegressor, PatchMean

    net = BagNetRegressor(PatchMean, module__network=torch.nn.Linear(8, 1), max_epochs=3, verbose=0)
    report = compute_report({"net": make_pipeline(net)}, IMAGES, LABELS)
    forward = 4 * 20 * 2 * 8
    assert report.flops("net", "inference") == forward
    assert report.flops("net", "training") == 3 * 2 * forward  # the gradient of the weights; the input has none


def test_a_cache_that_is_full_costs_no_operations(tmp_path):
    torch = pytest.importorskip("torch")
    from patchdistill.embedding import TorchEmbedder

    pools = [RNG.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8) for _ in range(4)]
    embedder = TorchEmbedder(torch.nn.Conv2d(3, 4, 3), cache=tmp_path)
    embedder.fit_transform(pools)
    report = compute_report(
        {"cached": Pipeline([("embed", embedder), ("pool", BagPooling()), ("model", Ridge())])}, pools, LABELS
    )
    probe = 2 * 2 * 27 * 4 * 36  # two patches tell whether the code of the module is the same
    assert report.flops("cached", "inference", "embed") == probe


@pytest.mark.parametrize(
    ("pipeline", "error", "message"),
    [
        (Ridge(), TypeError, "Got a Ridge, but a Pipeline is needed"),
        ({"a": Ridge()}, TypeError, r"Got \['Ridge'\], but a Pipeline"),
        (
            make_pipeline(BagPooling(), Ridge()),
            ValueError,
            r"None of the steps \['bagpooling', 'ridge'\] is a selector",
        ),
    ],
)
def test_refuses(pipeline, error, message):
    with pytest.raises(error, match=message):
        compute_report(pipeline, IMAGES, LABELS)


def test_refuses_no_repeats():
    with pytest.raises(ValueError, match="repeats=0 is not valid"):
        compute_report(PIPELINE, IMAGES, LABELS, repeats=0)


def test_refuses_other_names():
    report = compute_report(PIPELINE, IMAGES, LABELS)
    with pytest.raises(ValueError, match=r"'half' is no pipeline of this report; there are \['kept patches', 'all"):
        report.seconds("half")
