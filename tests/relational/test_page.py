"""The report and its table, read back."""

import csv
import re
from html.parser import HTMLParser
from urllib.parse import urlparse

import pytest

from patchdistill.relational.comparison import FACES, Comparison
from patchdistill.relational.description import ChannelReport
from patchdistill.relational.page import render, words, write_comparisons

SAME = ChannelReport("noise", 0.001, -0.02, "unchanged", 0.0, None)


def make(name, score, *changed, reference="ref.png", geometry="flat", shift=(0, 0)):
    """A comparison of a picture of 200 x 100 pixels; its pictures are their own names."""
    reports = [ChannelReport(channel, worst / 2, worst, word, 0.25, box) for channel, worst, word, box in changed]
    shown = ["reference", "image", *(report.channel for report in reports)]
    pictures = {key: f"{name}-{key}" for key in shown}
    faces = {key: [f"{name}-{key}-{face}" for face in FACES] for key in shown if key != "image"}
    channels = (*reports, SAME)
    faces = faces if geometry == "panorama" else {}
    return Comparison(name, reference, 100, 200, geometry, score, shift, channels, pictures, faces)


BLURRED = make("b.png", -0.4, ("sharpness", -0.5, "blurrier", (8, 16, 40, 96)))
DARK = make(
    "d<&>.png",
    -0.75,
    ("exposure", -0.4, "darker", (0, 0, 100, 200)),
    ("sharpness", 0.6, "sharper", (0, 0, 8, 8)),
    shift=(0, 3),
)
COPY = make("c.png", 0.0)


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def page_of(*comparisons, names=None):
    html = render(list(comparisons), names or [comparison.image for comparison in comparisons])
    return html, Elements(html)


def pictures(elements):
    return [attrs["src"].removeprefix("data:image/jpeg;base64,") for tag, attrs in elements.tags if tag == "img"]


def test_the_page_needs_nothing_else_and_is_whole():
    html, elements = page_of(BLURRED, DARK, COPY)
    assert not elements.open
    assert not {"script", "link", "a"} & {tag for tag, _ in elements.tags}
    assert all(urlparse(attrs["src"]).scheme == "data" for tag, attrs in elements.tags if tag == "img")
    assert "http" not in html and "url(" not in html


def test_the_best_comes_first_and_the_reference_once():
    _, elements = page_of(BLURRED, DARK, COPY)
    assert pictures(elements) == [
        *("c.png-reference", "c.png-image", "b.png-image", "b.png-sharpness"),
        *("d<&>.png-image", "d<&>.png-exposure", "d<&>.png-sharpness"),
    ]
    titles = [text for text in elements.texts if "score" in text and "rank" in text and len(text) < 60]
    assert titles == [
        "c.png: score 0.000, rank 1 of 3",
        "b.png: score −0.400, rank 2 of 3",
        "d<&>.png: score −0.750, rank 3 of 3",
    ]
    assert "Of 3 versions of ref.png, c.png is nearest to it, and d<&>.png is furthest." in elements.texts


def test_one_picture_is_not_ranked_against_itself():
    _, elements = page_of(BLURRED)
    assert "b.png: score −0.400" in elements.texts and "b.png: blurrier." in elements.texts


def test_equal_scores_are_said_to_be_equal():
    _, elements = page_of(COPY, make("e.png", 0.0))
    assert "All 2 versions of ref.png have the same score." in elements.texts


def test_each_reference_has_its_part():
    other = make("o.png", -0.9, reference="folder/other.png")
    _, elements = page_of(BLURRED, other, COPY)
    assert [text for text in elements.texts if text.startswith("Reference: ")] == [
        "Reference: ref.png",
        "Reference: other.png",
    ]
    assert pictures(elements).count("o.png-reference") == 1
    assert "3 pictures compared with 2 references" in elements.texts
    assert "o.png: score −0.900" in elements.texts


def test_the_numbers_of_all_channels_are_there():
    _, elements = page_of(BLURRED)
    rows = " | ".join(elements.texts)
    assert "sharpness | blurrier | −0.25 | −0.50 | 25% | 8 | 16 | 40 | 96" in rows
    assert "noise | unchanged | +0.00 | −0.02 | 0%" in rows


def test_what_changed_is_told_strongest_first():
    assert words(DARK) == "sharper, darker" and words(COPY) == "unchanged"


def boxes(elements):
    return [
        attrs["style"] for tag, attrs in elements.tags if tag == "span" and attrs.get("style", "").startswith("top")
    ]


def test_the_worst_region_is_outlined():
    assert boxes(page_of(BLURRED)[1]) == ["top:8.00%;height:32.00%;left:8.00%;width:40.00%"]
    across = make("p.png", -0.4, ("contrast", 0.5, "harsher", (0, 160, 50, 20)), geometry="panorama")
    assert boxes(page_of(across)[1]) == [
        "top:0.00%;height:50.00%;left:80.00%;width:20.00%",
        "top:0.00%;height:50.00%;left:0.00%;width:10.00%",
    ]


def test_panoramas_are_shown_in_six_directions():
    shown = pictures(page_of(make("p.png", -0.4, ("hue", 0.5, "x", (0, 0, 8, 8)), geometry="panorama"))[1])
    assert shown == [
        "p.png-reference",
        *(f"p.png-reference-{face}" for face in FACES),
        *("p.png-image", "p.png-hue"),
        *(f"p.png-hue-{face}" for face in FACES),
    ]


def test_a_shifted_picture_is_told_of():
    assert any("shifted against its reference by 3 pixels to the right" in text for text in page_of(DARK)[1].texts)
    assert "Caution" not in page_of(BLURRED)[0]


def test_text_is_read_as_text():
    html, elements = page_of(make("<script>x</script>.png", -1.0, reference="<b>.png"))
    assert "<script>" not in re.sub('src="[^"]*"', "", html) and "Reference: <b>.png" in elements.texts


def test_the_scale_of_the_colors_is_told():
    html, elements = page_of(BLURRED)
    assert "less: −0.5" in elements.texts and "more: +0.5" in elements.texts
    assert re.search(r"linear-gradient\(to right,rgb\(0, 90, 181\),rgb\(255, 255, 255\),rgb\(220, 50, 32\)\)", html)


def test_the_table_is_written_beside_the_page(tmp_path):
    page = write_comparisons([DARK, BLURRED], ["d", "b"], tmp_path)
    assert page == tmp_path / "report.html" and page.read_text(encoding="utf-8") == render([DARK, BLURRED], ["d", "b"])
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "channels.csv"}
    with open(tmp_path / "channels.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 5
    assert rows[3] == {
        "image": "b.png", "reference": "ref.png", "score": "-0.4", "rank": "1", "channel": "sharpness",
        "mean": "-0.25", "worst_tenth": "-0.5", "direction": "blurrier", "area": "0.25",
        "top": "8", "left": "16", "bottom": "40", "right": "96",
    }  # fmt: skip
    assert rows[4]["direction"] == "unchanged" and rows[4]["top"] == rows[4]["right"] == ""
    assert rows[0]["image"] == "d<&>.png" and rows[0]["rank"] == "2"


@pytest.mark.parametrize("n", [1, 2])
def test_the_title_counts(n):
    html, _ = page_of(*[make(f"{i}.png", -float(i)) for i in range(n)])
    assert f"<h1>{n} picture{'s' * (n > 1)} compared with the reference</h1>" in html
