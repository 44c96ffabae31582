import json
from collections import Counter

import numpy as np
import pytest

from patchdistill.relational.channels import CORE6, FULL12
from patchdistill.relational.drawing import Operation, draw_operations, vary_operations

RANGES = {"noise": (0.0, 0.9), "exposure": (-0.5, 0.6), "contrast": (-0.8, 0.7), "blockiness": (0.0, 0.3)}


def draws(n, ranges=RANGES, max_ops=3, masks="mixed", order="isp", seed=0):
    rng = np.random.default_rng(seed)
    return [draw_operations(ranges, max_ops, masks, order, rng) for _ in range(n)]


def test_operations_pass_through_json():
    op = Operation("contrast", -0.123456789012345, "field", 2**31 - 1)
    assert Operation(**json.loads(json.dumps(op.to_dict()))) == op
    numbers = Operation("noise", np.float32(0.5), seed=np.int64(3))
    assert Operation(**json.loads(json.dumps(numbers.to_dict()))) == Operation("noise", 0.5, "full", 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("rain", 0.5), "no channel 'rain'"),
        (("noise", 1.5), r"\[-1, 1\]; got 1.5"),
        (("noise", float("nan")), r"\[-1, 1\]; got nan"),
        (("noise", "much"), r"\[-1, 1\]; got 'much'"),
        (("noise", 0.5, "circle"), "'full', 'field', 'box', 'half', 'ramp'; got 'circle'"),
        (("noise", 0.5, "full", -1), "at least 0; got -1"),
        (("noise", 0.5, "full", 0.5), "at least 0; got 0.5"),
    ],
)
def test_operations_that_cannot_be(values, message):
    with pytest.raises(ValueError, match=message):
        Operation(*values)


def test_numbers_of_operations():
    counts = Counter(len(ops) for ops in draws(3000))
    assert set(counts) == {0, 1, 2, 3}
    assert abs(counts[0] / 3000 - 0.1) < 0.03
    assert all(abs(counts[k] / 3000 - 0.3) < 0.04 for k in (1, 2, 3))
    assert {len(ops) for ops in draws(100, max_ops=1)} == {0, 1}
    assert max(len(ops) for ops in draws(300, max_ops=9)) == 4


def test_levels_signs_and_channels():
    ops = [op for drawn in draws(3000) for op in drawn]
    for name, (low, high) in RANGES.items():
        levels = np.array([op.level for op in ops if op.channel == name])
        assert low <= levels.min() and levels.max() <= high
        assert abs(len(levels) / len(ops) - 0.25) < 0.03
        shares = levels / np.where(levels > 0, high, -low if low else 1)
        assert 0.1 <= np.abs(shares).min() < 0.11 and np.abs(shares).max() > 0.99
        assert abs((levels < 0).mean() - (0.5 if low else 0)) < 0.05
    assert len({op.seed for op in ops}) > 0.99 * len(ops)
    assert {op.mask for op in ops} == {"full", "field", "box", "half", "ramp"}
    assert {op.mask for drawn in draws(50, masks="half") for op in drawn} == {"half"}


def test_the_order_of_a_camera_or_any():
    ranges = dict.fromkeys(reversed(CORE6), (-0.5, 0.5))
    for ops in draws(200, ranges, max_ops=6):
        names = [op.channel for op in ops]
        assert names == sorted(names, key=FULL12.index) and len(set(names)) == len(names)
    mixed = [[op.channel for op in ops] for ops in draws(200, ranges, max_ops=6, order="random")]
    assert sum(names != sorted(names, key=FULL12.index) for names in mixed) > 60


def test_variations_are_more_or_less_of_the_same():
    rng = np.random.default_rng(0)
    for ops in draws(100):
        for op, other in zip(ops, vary_operations(ops, RANGES, rng), strict=True):
            assert (op.channel, op.mask, op.seed) == (other.channel, other.mask, other.seed)
            assert op.level * other.level > 0 and op.level != other.level
            low, high = RANGES[op.channel]
            assert low <= other.level <= high
