import numpy as np
import pytest

from patchdistill.datasets import dead_leaves
from patchdistill.plotting import DistortionMapDisplay
from patchdistill.relational.description import describe_map
from patchdistill.relational.heat import LESS, LIMIT, MORE, draw_heat, shrink

pyplot = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("PIL")

NAMES = ("exposure", "sharpness", "noise", "hue")
PICTURE = dead_leaves(64, 128, random_state=0)
D = np.zeros((4, 8, 16))
D[0, 2:4, [0, 14, 15]] = 0.9
D[1, 4:, 8:] = -0.3


class Map:
    channel_names_ = NAMES

    def predict_map(self, a, ref, geometry="flat"):
        self.asked = a, ref, geometry
        return D


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def pixels_of(ax):
    (image,) = ax.images
    return np.asarray(image.get_array())


def rectangles(ax):
    return [(patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) for patch in ax.patches]


@pytest.mark.parametrize("geometry", ["flat", "panorama"])
def test_each_channel_has_its_axes(geometry):
    display = DistortionMapDisplay.from_map(D, NAMES, PICTURE, geometry=geometry)
    assert display.reports_ == describe_map(D, NAMES, (64, 128), geometry)
    worst = display.reports_[0].worst_tenth, display.reports_[1].worst_tenth
    assert [ax.get_title() for ax in display.axes_] == [
        f"exposure: brighter ({worst[0]:+.2f})",
        f"sharpness: blurrier ({worst[1]:+.2f})",
        "noise: unchanged",
        "hue: unchanged",
    ]
    for ax, values in zip(display.axes_, D, strict=True):
        assert np.array_equal(pixels_of(ax), draw_heat(PICTURE, values, (64, 128)))
        assert ax.images[0].get_extent() == [0, 128, 64, 0] and ax.figure is display.figure_


def test_the_worst_region_is_outlined_on_both_sides_of_the_seam():
    flat = DistortionMapDisplay.from_map(D, NAMES, PICTURE).axes_
    assert rectangles(flat[0]) == [(112, 16, 16, 16)] and rectangles(flat[1]) == [(64, 32, 64, 32)]
    assert rectangles(flat[2]) == []
    sphere = DistortionMapDisplay.from_map(D, NAMES, PICTURE, geometry="panorama").axes_
    assert rectangles(sphere[0]) == [(112, 16, 16, 16), (0, 16, 8, 16)]
    assert rectangles(DistortionMapDisplay.from_map(D, NAMES, PICTURE, outline=False).axes_[0]) == []


def test_the_axes_of_a_panorama_are_those_of_the_sphere():
    ax = DistortionMapDisplay.from_map(D, NAMES, PICTURE, geometry="panorama", channel="noise").axes_[0]
    assert ax.get_xticks().tolist() == [0, 32, 64, 96, 128] and ax.get_yticks().tolist() == [0, 16, 32, 48, 64]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["-180°", "-90°", "0°", "90°", "180°"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["90°", "45°", "0°", "-45°", "-90°"]
    assert not len(DistortionMapDisplay.from_map(D, NAMES, PICTURE, channel="noise").axes_[0].get_xticks())


def test_one_channel_on_axes_that_are_there():
    figure, axes = pyplot.subplots(1, 2)
    display = DistortionMapDisplay.from_map(D, NAMES, PICTURE, ax=axes[1], channel="sharpness", colorbar=False)
    assert display.axes_.tolist() == [axes[1]] and display.figure_ is figure and len(figure.axes) == 2
    assert np.array_equal(pixels_of(axes[1]), draw_heat(PICTURE, D[1], (64, 128)))
    assert not axes[0].images


def test_from_pair_asks_the_map():
    reference, model = PICTURE // 2, Map()
    display = DistortionMapDisplay.from_pair(model, PICTURE, reference, geometry="panorama", channel="exposure")
    asked = model.asked
    assert np.array_equal(asked[0], PICTURE) and np.array_equal(asked[1], reference) and asked[2] == "panorama"
    assert display.geometry == "panorama" and np.array_equal(
        pixels_of(display.axes_[0]), draw_heat(PICTURE, D[0], (64, 128))
    )


def test_files_and_float_pictures_look_the_same(tmp_path):
    from PIL import Image

    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    for image in (tmp_path / "picture.png", PICTURE / 255 * 0.9999):
        display = DistortionMapDisplay.from_pair(Map(), image, image, channel="exposure")
        assert np.array_equal(pixels_of(display.axes_[0]), draw_heat(PICTURE, D[0], (64, 128)))


def test_large_pictures_are_shrunk_and_places_stay():
    large = np.repeat(np.repeat(PICTURE, 20, axis=0), 20, axis=1)
    maps = np.repeat(np.repeat(D, 20, axis=1), 20, axis=2)
    ax = DistortionMapDisplay.from_map(maps, NAMES, large, channel="sharpness").axes_[0]
    assert np.array_equal(pixels_of(ax), draw_heat(shrink(large, 1600), maps[1], (1280, 2560)))
    assert pixels_of(ax).shape == (800, 1600, 3) and ax.images[0].get_extent() == [0, 2560, 1280, 0]
    assert rectangles(ax) == [(1280, 640, 1280, 640)]


def test_the_scale_is_that_of_the_colors():
    display = DistortionMapDisplay.from_map(D, NAMES, PICTURE)
    (bar,) = [ax for ax in display.figure_.axes if ax not in display.axes_]
    assert bar.get_xlim() == (-LIMIT, LIMIT)
    (colors,) = [c.cmap for c in bar.collections if hasattr(c, "cmap") and c.cmap.name == "less to more"]
    ends = np.rint(255 * np.array([colors(0.0), colors(1.0)]))[:, :3]
    assert ends.tolist() == [list(LESS), list(MORE)] and np.allclose(colors(0.5), 1, atol=0.01)


def test_arguments_are_stored_and_drawing_comes_later():
    display = DistortionMapDisplay(D, NAMES, PICTURE, "panorama")
    assert display.D is D and display.channel_names is NAMES and display.image is PICTURE
    assert not hasattr(display, "axes_") and display.plot() is display


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="no channel 'contrast' in this map; its channels are exposure, sharpness"):
        DistortionMapDisplay.from_map(D, NAMES, PICTURE, channel="contrast")
    with pytest.raises(ValueError, match="One ax cannot hold all channels; name one with channel="):
        DistortionMapDisplay.from_map(D, NAMES, PICTURE, ax=pyplot.subplots()[1])
    with pytest.raises(ValueError, match=r"The map has shape \(4, 8, 16\), but 4 channels of a picture of 56 x 128"):
        DistortionMapDisplay.from_map(D, NAMES, PICTURE[:56])
