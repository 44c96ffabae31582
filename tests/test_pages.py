import base64
from html.parser import HTMLParser

from patchdistill.pages import write_figure, write_number, write_page, write_table


class Elements(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_a_page_has_its_title_and_parts_and_reaches_for_nothing():
    page = write_page("a < b & c", ["<p>one</p>", "<p>two</p>"])
    elements = Elements(page)
    assert "a < b & c" in elements.texts
    assert [tag for tag, _ in elements.tags].count("p") == 2
    assert page.startswith("<!DOCTYPE html>") and ("meta", {"charset": "utf-8"}) in elements.tags
    assert not {"script", "link"} & {tag for tag, _ in elements.tags}
    assert "http" not in page and "url(" not in page


def test_a_figure_holds_its_picture_and_says_the_same_twice():
    elements = Elements(write_figure(b"\x89PNG", "less &lt; &quot;more&quot; &amp; –"))
    (attributes,) = (attributes for tag, attributes in elements.tags if tag == "img")
    assert base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,")) == b"\x89PNG"
    assert attributes["alt"] == 'less < "more" & –' == "".join(elements.texts)


def test_text_columns_and_lines_of_a_table():
    rows = [(("a", "b", "<b>1</b>"), True), (("c", "d", "2"), False)]
    elements = Elements(write_table(("x", "y", "n"), rows, n_text=2))
    cells = [attributes.get("class") for tag, attributes in elements.tags if tag in ("th", "td")]
    assert cells == ["text", "text", None] * 3
    assert [attributes.get("class") for tag, attributes in elements.tags if tag == "tr"] == [None, "first", None]
    assert elements.texts == ["x", "y", "n", "a", "b", "1", "c", "d", "2"]


def test_numbers_have_a_real_minus_and_no_minus_zero():
    assert write_number(-1.25, digits=1) == "−1.2" and write_number(-0.0004) == "0.000"
    assert write_number(0.5, digits=2, sign=True) == "+0.50" and write_number(-0.0004, sign=True) == "+0.000"
