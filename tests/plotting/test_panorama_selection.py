from types import SimpleNamespace

import numpy as np
import pytest

from patchdistill import PatchBags
from patchdistill.plotting import PanoramaSelectionDisplay, SelectionDisplay
from patchdistill.plotting.places import Views

matplotlib = pytest.importorskip("matplotlib")

HEIGHT, WIDTH, N = 32, 64, 7
SELECTION = SimpleNamespace(scores=np.linspace(0.1, 1.3, N), indices=np.array([1, 4]))
CROPS = {"top": np.arange(N), "left": np.arange(N) * 10, "size": np.full(N, 9)}
VIEWS = {"lon": np.linspace(-170, 170, N), "lat": np.linspace(-50, 50, N), "fov": np.full(N, 60.0)}


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def bags(fields, n=N):
    return PatchBags.from_list([np.ones((n, 2))], fields={name: [values] for name, values in fields.items()})


def alpha(display):
    return display.ax_.get_images()[1].get_array()[..., 3]


@pytest.mark.parametrize("fields", [CROPS, VIEWS], ids=["crops", "views"])
def test_kept_patches_are_clear_and_no_others(image, fields):
    display = PanoramaSelectionDisplay.from_selection(image, bags(fields), SELECTION)
    np.testing.assert_array_equal(alpha(display) == 0, np.isin(display.tiles_, SELECTION.indices))
    assert set(np.unique(display.tiles_)) == {-1, *range(N)}
    assert display.ax_.get_title() == "2 of 7 patches kept"
    (dots,) = (artist for artist in display.ax_.collections if len(artist.get_paths()) == N)
    np.testing.assert_array_equal(dots.get_array(), SELECTION.scores)
    middles = [path.get_extents() for path in dots.get_paths()]
    for i, box in enumerate(middles):
        column, row = round((box.x0 + box.x1) / 2), round((box.y0 + box.y1) / 2)
        assert display.tiles_[row, column % WIDTH] == i


def test_what_is_in_no_patch_is_outside_of_the_outlines(image):
    everything = SimpleNamespace(scores=SELECTION.scores, indices=np.arange(N))
    display = PanoramaSelectionDisplay(image, CROPS, everything).plot()
    assert (display.tiles_ == -1).any()
    assert len(display.ax_.collections) == 2  # outlines and dots


def test_views_are_told_from_crops_by_their_fields(image):
    views = PanoramaSelectionDisplay(image, VIEWS, SELECTION).plot()
    np.testing.assert_array_equal(views.tiles_, Views(**VIEWS).tiles((HEIGHT, WIDTH)))
    both = PanoramaSelectionDisplay(image, {**VIEWS, **CROPS}, SELECTION).plot()
    np.testing.assert_array_equal(both.tiles_, PanoramaSelectionDisplay(image, CROPS, SELECTION).plot().tiles_)


def test_a_crop_goes_on_at_the_left_border(image):
    places = {**CROPS, "left": np.append(CROPS["left"][:-1], WIDTH - 3)}
    tiles = PanoramaSelectionDisplay(image, places, SELECTION).plot().tiles_
    assert (tiles[10, :2] == 6).all() and (tiles[10, -3:] == 6).all()
    with pytest.raises(ValueError, match="reach beyond .*use PanoramaSelectionDisplay"):
        SelectionDisplay(image, places["top"], places["left"], 9, SELECTION).plot()


def test_without_a_seam_both_displays_show_the_same(image):
    left = np.minimum(CROPS["left"], WIDTH - 9)
    flat = SelectionDisplay.from_selection(image, bags({**CROPS, "left": left}), SELECTION)
    around = PanoramaSelectionDisplay.from_selection(image, bags({**CROPS, "left": left}), SELECTION)
    np.testing.assert_array_equal(flat.tiles_, around.tiles_)
    np.testing.assert_array_equal(alpha(flat), alpha(around))


def test_draws_on_given_axes(image):
    ax = matplotlib.figure.Figure().subplots()
    display = PanoramaSelectionDisplay.from_selection(image, bags(VIEWS), SELECTION, ax=ax, legend=False)
    assert display.ax_ is ax and ax.get_legend() is None


def test_refuses_what_does_not_fit(image):
    with pytest.raises(ValueError, match=r"There are the fields \['lat', 'lon'\], but places need"):
        PanoramaSelectionDisplay(image, {"lon": VIEWS["lon"], "lat": VIEWS["lat"]}, SELECTION).plot()
    with pytest.raises(ValueError, match=r"Patch 2 with lon=.*, lat=95.0, fov=60.0 is not on the panorama of 32 x 64"):
        lat = VIEWS["lat"].copy()
        lat[2] = 95
        PanoramaSelectionDisplay(image, {**VIEWS, "lat": lat}, SELECTION).plot()
    with pytest.raises(ValueError, match="top must be 0 to 32 - size, left 0 to 63"):
        PanoramaSelectionDisplay(image, {**CROPS, "left": CROPS["left"] + 60}, SELECTION).plot()
    with pytest.raises(ValueError, match="There are 2 values of lon, .* 7 patches; pass the patches as they were"):
        PanoramaSelectionDisplay.from_selection(
            image, bags({name: values[:2] for name, values in VIEWS.items()}, 2), SELECTION
        )
    with pytest.raises(ValueError, match=r"holds 14 images, .*patches\[\[i\]\]"):
        many = PatchBags.from_list([np.ones((1, 2))] * 14)
        PanoramaSelectionDisplay.from_selection(image, many, SELECTION)
    with pytest.raises(ValueError, match="no field 'left'.*PanoramaSelectionDisplay"):
        SelectionDisplay.from_selection(image, bags(VIEWS), SELECTION)


def test_says_what_to_install(image, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'PanoramaSelectionDisplay needs matplotlib.*\n.*"patchdistill\[viz\]"'):
        PanoramaSelectionDisplay(image, VIEWS, SELECTION).plot()
