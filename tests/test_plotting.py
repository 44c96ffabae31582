import numpy as np
import pytest

from patchdistill import PatchBags, select_patches
from patchdistill.embedding import PatchStatistics
from patchdistill.models.compute import ComputeReport, StageCost
from patchdistill.plotting import ComputeDisplay, SelectionDisplay
from patchdistill.sampling import GridSampler

matplotlib = pytest.importorskip("matplotlib")
SIZE = 32


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def patches(image):
    return PatchStatistics(n_patches=20, patch_size=SIZE).transform([image])


@pytest.fixture(scope="module")
def selection(patches):
    return select_patches(patches[0], rate=0.4)


def overlay(display):
    return display.ax_.get_images()[1].get_array()


def patch_of(display, i):
    return np.s_[display.top[i] : display.top[i] + SIZE, display.left[i] : display.left[i] + SIZE]


def test_kept_pixels_are_clear_and_dropped_ones_are_not(image, patches, selection):
    display = SelectionDisplay.from_selection(image, patches, selection)
    alpha = overlay(display)[..., 3]
    for i in range(20):
        center = (display.top[i] + SIZE // 2, display.left[i] + SIZE // 2)
        assert display.tiles_[center] == i
        assert (alpha[center] == 0) == (i in selection.indices)
    # Each pixel is shown as one of the patches that cover it.
    for i in range(20):
        covered = np.zeros(image.shape[:2], dtype=bool)
        covered[patch_of(display, i)] = True
        assert covered[display.tiles_ == i].all()


def test_every_patch_has_a_dot_with_its_score(image, patches, selection):
    display = SelectionDisplay.from_selection(image, patches, selection)
    (dots,) = (
        artist for artist in display.ax_.collections if artist.get_array() is not None and len(artist.get_paths()) == 20
    )
    np.testing.assert_array_equal(dots.get_array(), selection.scores)
    assert display.ax_.get_title() == "8 of 20 patches kept"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["kept", "dropped"]


def test_pixels_in_no_patch_are_marked(image):
    patches = PatchStatistics(n_patches=4, patch_size=SIZE).transform([image])
    display = SelectionDisplay.from_selection(image, patches, select_patches(patches[0]))
    assert (display.tiles_ == -1).sum() == image[..., 0].size - 4 * SIZE**2
    assert "in no patch" in [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert (overlay(display)[display.tiles_ == -1][:, 3] > 0).all()


def test_draws_on_given_axes(image, patches, selection):
    ax = matplotlib.figure.Figure().subplots()
    display = SelectionDisplay(image, patches.field("top", 0), patches.field("left", 0), SIZE, selection)
    assert display.plot(ax, colorbar=False, legend=False) is display
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert ax.get_legend() is None and not ax.child_axes
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("rate", [1, 1.0])
def test_one_patch_kept_and_all_kept(image, patches, rate):
    selection = select_patches(patches[0], rate=rate)
    display = SelectionDisplay.from_selection(image, patches, selection)
    display.figure_.canvas.draw()
    clear = overlay(display)[..., 3] == 0
    assert clear.all() if isinstance(rate, float) else 0 < clear.sum() <= SIZE**2


def test_places_follow_the_patches_through_an_embedding(image, patches, selection):
    pixels = GridSampler(n_patches=20, patch_size=SIZE).transform([image])
    for bags in (patches, pixels, PatchStatistics().transform(pixels)):
        assert SelectionDisplay.from_selection(image, bags, selection).patch_size == SIZE


def test_refuses_what_does_not_fit(image, patches, selection):
    two = PatchStatistics(n_patches=20, patch_size=SIZE).transform([image, image])
    with pytest.raises(ValueError, match=r"holds 2 images, .*patches\[\[i\]\]"):
        SelectionDisplay.from_selection(image, two, selection)
    with pytest.raises(ValueError, match="no field 'left'"):
        SelectionDisplay.from_selection(image, PatchBags.from_list([patches[0]]), selection)
    with pytest.raises(ValueError, match="20 patches; pass the patches as they were before"):
        SelectionDisplay.from_selection(image, patches.take([selection.indices]), selection)
    with pytest.raises(ValueError, match="reach beyond the image of 48 x 128"):
        SelectionDisplay.from_selection(image[:48], patches, selection)


def test_says_what_to_install(image, patches, selection, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'SelectionDisplay needs matplotlib.*\n.*"patchdistill\[viz\]"'):
        SelectionDisplay.from_selection(image, patches, selection)


COSTS = [
    ("all", "training", "model", 8.0),
    ("all", "inference", "model", 2.0),
    ("kept", "training", "select", 1.0),
    ("kept", "training", "model", 3.0),
    ("kept", "inference", "select", 0.5),
    ("kept", "inference", "model", 0.5),
]


def test_the_bars_of_a_report_are_its_seconds_end_to_end():
    report = ComputeReport(tuple(StageCost(*cost, None) for cost in COSTS))
    display = ComputeDisplay.from_report(report)
    assert {key: bar.get_width() for key, bar in display.bars_.items()} == {cost[:3]: cost[3] for cost in COSTS}
    for variant in report.variants:
        bars = [bar for key, bar in display.bars_.items() if key[0] == variant]
        starts = [bar.get_x() for bar in bars]
        np.testing.assert_allclose(starts, np.cumsum([0, *(bar.get_width() for bar in bars)])[:-1])
        assert len({bar.get_y() for bar in bars}) == 1
    assert [text.get_text().strip() for text in display.ax_.texts] == ["10 s, 100%", "5 s, 50%"]
    color = {key: bar.get_facecolor() for key, bar in display.bars_.items()}
    assert color["all", "training", "model"] == color["kept", "inference", "model"]
    assert color["kept", "training", "select"] != color["kept", "training", "model"]
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["select", "model", "inference"]
    hatched = {key[1] for key, bar in display.bars_.items() if bar.get_hatch()}
    assert hatched == {"inference"}


def test_a_report_is_drawn_where_it_is_told_to():
    _, ax = matplotlib.pyplot.subplots()
    report = ComputeReport((StageCost("kept", "training", "model", 2.0, None),))
    assert ComputeDisplay.from_report(report, ax=ax).ax_ is ax
