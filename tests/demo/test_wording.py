import pytest

from patchdistill.demo.study import SELECTORS
from patchdistill.demo.wording import (
    NAMES,
    example_title,
    findings,
    headline,
    interval,
    number,
    panorama_caption,
    panorama_findings,
    verdict,
)


def figure(value, low, high):
    return {"value": value, "low": low, "high": high}


def study(**to_random):
    """A study with one rate; for each mode, the difference of the default selection to random."""
    rows = []
    for mode in ("retrained", "fixed"):
        for k, name in enumerate(SELECTORS):
            row = {"mode": mode, "rate": 0.45, "selector": name, "srcc": figure(0.9 - k / 100, 0.8, 0.95)}
            row["change"] = 0.1 + k / 10
            row["srcc_minus_all"] = figure(0.0, -0.1, 0.1)
            row["srcc_minus_random"] = to_random[mode] if name == "cover" else figure(0.0, -0.1, 0.1)
            if name == "random":
                row["srcc"]["sd"] = to_random.get("sd", 0.01)
            rows.append(row)
    return {"all": {"srcc": figure(0.9, 0.8, 0.95), "plcc": figure(0.9, 0.8, 0.95)}, "rows": rows}


BETTER, WORSE, SAME = figure(0.02, 0.01, 0.03), figure(-0.02, -0.03, -0.01), figure(0.02, -0.01, 0.05)
UNDEFINED = figure(None, None, None)


@pytest.mark.parametrize(("difference", "side"), [(BETTER, 1), (WORSE, -1), (SAME, 0), (UNDEFINED, None)])
def test_a_side_is_taken_only_beyond_the_interval(difference, side):
    assert verdict(difference) == side


def test_headline_says_when_random_is_better():
    text = headline(study(retrained=WORSE, fixed=BETTER))
    assert "worse than as many random ones, with a model retrained on them" in text
    assert "better than as many random ones, with a model trained on all patches" in text


def test_headline_joins_what_is_equal():
    text = headline(study(retrained=SAME, fixed=SAME))
    assert text.count("no clear difference from all patches or from as many random ones") == 1
    assert "better" not in text and "worse" not in text


def test_findings_give_every_selection_its_own_figures():
    sentences = findings(study(retrained=SAME, fixed=WORSE))
    assert (
        "default selection 0.900, lowest residuals 0.890, highest residuals 0.880, random 0.870 ± 0.010" in sentences[1]
    )
    assert "minus random: −0.020 (−0.030 to −0.010)" in sentences[2]
    assert "Retrained, default selection, SRCC over all rates: no clear difference from random at 45%." in sentences
    assert "Fixed, default selection, SRCC over all rates: worse than random at 45%." in sentences
    assert "with the default selection and with random patches: 0.100 and 0.400 at 45%." in sentences[-1]
    assert sum("over all rates" in sentence for sentence in sentences) == 2 * (len(NAMES) - 1)
    assert "random 0.870 ± unknown" in findings(study(retrained=SAME, fixed=SAME, sd=None))[1]


def test_constant_predictions_are_told():
    some = study(retrained=UNDEFINED, fixed=SAME)
    assert "predictions are constant" in headline(some)
    assert any("predictions are constant" in sentence for sentence in findings(some))
    assert number(None) == interval(UNDEFINED) == "undefined (constant predictions)"


def test_numbers_have_a_real_minus_and_no_minus_zero():
    assert number(-0.12345) == "−0.123"
    assert number(-0.0001, sign=True) == "+0.000"


def panorama(**other):
    spoiled = {"all": 0.5, "kept": 0.4123, "weighted": 0.4857, "outliers": None, "random_sd": 0.0394}
    numbers = {"height": 200, "width": 400, "distortion": "JPEG", "strength": 5, "n_patches": 180, "patch_size": 25}
    return {"picture": None, **numbers, "n_kept": 81, "n_outliers": 0, "spoiled": spoiled, **other}


def test_caption_says_where_the_panorama_comes_from():
    synthetic, own = panorama_caption(panorama()), panorama_caption(panorama(picture="beach"))
    assert synthetic.startswith("This panorama is synthetic:") and "dead leaves" in synthetic
    assert own.startswith("The picture is beach,") and "synthetic" not in own
    for caption in (synthetic, own):
        assert "at 400 x 200 pixels." in caption
        assert "longitudes 0° to 180°, was spoiled: JPEG, quality 5." in caption
        assert "The 180 patches of 25 x 25 pixels" in caption


def test_shares_of_the_panorama_are_told_in_percent():
    shares, set_aside, _ = panorama_findings(panorama())
    assert "all 180 patches 50.0 % are spoiled; of those of the 81 kept ones 41.2 %, and 48.6 % where" in shares
    assert "a standard deviation of 3.9 points" in shares
    assert set_aside == "No patch was set aside because it stands apart."


def test_outliers_of_the_panorama_are_told_if_there_are_any():
    some = panorama(n_outliers=4)
    some["spoiled"]["outliers"] = 0.625
    assert "stand apart: 4; 62.5 % of their pixels are spoiled." in panorama_findings(some)[1]


def test_title_of_a_patch_tells_its_place_and_weight():
    assert example_title({"lon": -81.9, "lat": 7.03, "weight": 0.02116}) == "lon −82°, lat 7°, weight 2.1 %"
