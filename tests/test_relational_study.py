"""What the page on relational quality says is what the files of its studies say."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"

# R2 and sign accuracy of the plan, less 0.1.
LEAST = {
    "exposure": (0.87, 0.898),
    "noise": (0.84, 0.897),
    "saturation": (0.77, 0.883),
    "blockiness": (0.75, 0.886),
    "sharpness": (0.56, 0.823),
    "contrast": (0.49, 0.833),
}


@pytest.fixture(scope="module")
def results():
    return json.loads((RESULTS / "study_relational.json").read_text())["results"]


def test_maps_of_photographs_are_good_enough(results):
    found = results["maps core6 photos"]
    for channel, (r2, sign) in LEAST.items():
        assert found["r2"][channel] >= r2 and found["sign_accuracy"][channel] >= sign, channel
    assert found["swap_error"] == 0


def test_the_network_is_better_than_the_classical_map_in_every_channel(results):
    for content in ("photos", "panoramas", "leaves"):
        network, classical = (results[f"maps {name} {content}"] for name in ("network", "core6"))
        assert all(network["r2"][channel] > classical["r2"][channel] for channel in LEAST), content
        assert network["swap_error"] < 1e-6
    for channel, leads in results["leads photos"].items():
        (_, low, _), (_, _, high) = leads["r2"], leads["sign_accuracy"]
        assert low > 0, channel
        assert high > 0, channel  # the sign is nowhere clearly worse


def test_other_channels_see_less_than_the_one_that_changed(results):
    for changed, row in results["maps core6 photos"]["cross_talk"].items():
        assert all(value < 0.5 for name, value in row.items() if name != changed), (changed, row)


def test_every_step_of_every_ladder_lowers_the_score_and_nearly_every_one_that_by_the_network(results):
    classical, network = results["ladders classical"], results["ladders network"]
    assert classical["score_of_the_reference"] == network["score_of_the_reference"] == 0
    assert classical["n_steps"] == network["n_steps"] == 3840  # as the page says
    assert (classical["steps_that_do_not_fall"], network["steps_that_do_not_fall"]) == (0, 6)


@pytest.mark.parametrize("pairs", ["tiers", "across_scenes"])
def test_known_orders_are_found_better_than_by_others(results, pairs):
    figures = results["orders"][pairs]["relational"]
    for other in ("mean |D|", "PSNR", "SSIM"):
        value, low, high = figures[f"less {other}"]
        assert 0 < low < value < high, other


@pytest.mark.parametrize("pairs", ["tiers", "across_scenes"])
def test_the_score_by_the_network_finds_more_orders(results, pairs):
    value, low, high = results["orders"][pairs]["network"]["less relational"]
    assert 0 < low < value < high


def test_the_score_by_the_network_falls_with_every_step_of_unseen_operators(results):
    assert all(part["scores_fall_with_strength"] == 1 for part in results["unseen operators network"].values())


def test_opinions_agree_more_than_with_structure_alone_and_less_than_with_mdsi(results):
    agreement = {name: row["srcc"][0] for name, row in results["opinions"]["all"].items()}
    assert agreement["MDSI"] > agreement["relational"] > max(agreement[name] for name in ("SSIM", "GMSD", "VIF"))


def test_a_channel_that_was_left_out_is_still_seen(results):
    for name, figures in results.items():
        if name.startswith("without "):
            assert figures["without"]["ladder_steps_in_order"] > 0.8, name


def test_patches_by_residual_are_nowhere_worse_than_random_ones():
    studied = json.loads((RESULTS / "study_map_energy.json").read_text())
    for name in ("tid2013", "panoramas"):
        rows = [row for row in studied[name]["rows"] if row["selection"].startswith("residual")]
        assert rows and not any(row["verdict"] == "worse" for row in rows)
