"""HTML pages that need nothing else: no network, no scripts, pictures inside."""

import base64
from html import escape, unescape

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 64rem; margin: 0 auto; padding: 1.2rem 1rem 4rem; }
h1 { font-size: 1.35rem; margin: 0 0 .4rem; color: #444; font-weight: 600; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; border-top: 1px solid #ddd; padding-top: 1.2rem; }
h3 { margin: 2.2rem 0 .4rem; }
.headline { font-size: 1.3rem; line-height: 1.4; font-weight: 600; margin: .2rem 0 .8rem; }
p, li { max-width: 46rem; }
li { margin: .25rem 0; }
figure { margin: 1rem 0 1.4rem; }
img { max-width: 100%; height: auto; display: block; }
figcaption { margin-top: .4rem; }
figcaption, .note { color: #555; font-size: .92rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: .8rem 1rem;
  margin: .8rem 0 1rem; }
.tiles figure { margin: 0; }
.tiles img { width: 100%; }
.six { grid-template-columns: repeat(6, 1fr); gap: .3rem; }
.marked { position: relative; }
.marked span { position: absolute; box-sizing: border-box; border: 2px solid #000; outline: 1px solid #fff; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .4rem; text-align: right; white-space: nowrap; vertical-align: top; }
th { border-bottom: 2px solid #1a1a1a; font-weight: 600; vertical-align: bottom; }
th.text, td.text { text-align: left; white-space: normal; }
tr.first td { border-top: 1px solid #bbb; }
pre { background: #f6f6f6; padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; line-height: 1.45; }
@media (max-width: 40rem) { figure { overflow-x: auto; } img { max-width: none; width: 44rem; } }
"""


def write_page(title, parts):
    """Put a page together.

    Parameters
    ----------
    title : str
        What the browser calls it, as plain text.
    parts : sequence of str
        HTML, one part below the other. A paragraph of class ``headline`` stands out, one of class ``note`` does not.

    Returns
    -------
    str
        HTML.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def write_figure(png, caption):
    """Put a picture and what is said about it on a page.

    Parameters
    ----------
    png : bytes
        PNG file.
    caption : str
        Text in which ``<``, ``>`` and ``&`` are written as HTML has them; no tags.

    Returns
    -------
    str
        HTML.
    """
    image = write_image(base64.b64encode(png).decode("ascii"), "png", caption)
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def write_image(data, kind, text):
    """Put a picture on a page.

    Parameters
    ----------
    data : str
        The file in base64.
    kind : {"png", "jpeg"}
        Its format.
    text : str
        What it shows, as the caption of :func:`write_figure`.

    Returns
    -------
    str
        HTML.
    """
    return f'<img src="data:image/{kind};base64,{data}" alt="{escape(unescape(text), quote=True)}">'


def write_table(head, rows, n_text=1):
    """Put a table on a page.

    Parameters
    ----------
    head : sequence of str
        HTML of the names of the columns.
    rows : sequence of (sequence of str, bool)
        HTML of the cells of each row, and whether a line is drawn above it.
    n_text : int, default=1
        How many columns, from the left, are text; the others are numbers.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> write_table(("rate", "SRCC"), [(("10 %", "0.91"), False)]).count("<td")
    2
    """
    body = "".join(_line(cells, "td", n_text, is_first) for cells, is_first in rows)
    return f'<div class="scroll"><table><thead>{_line(head, "th", n_text)}</thead><tbody>{body}</tbody></table></div>'


def _line(cells, tag, n_text, is_first=False):
    marks = [' class="text"' if i < n_text else "" for i in range(len(cells))]
    inside = "".join(f"<{tag}{mark}>{cell}</{tag}>" for cell, mark in zip(cells, marks, strict=True))
    return f'<tr class="first">{inside}</tr>' if is_first else f"<tr>{inside}</tr>"


def write_number(value, digits=3, sign=False):
    """Write a number with a real minus, and none before zero.

    Parameters
    ----------
    value : float
        The number.
    digits : int, default=3
        Digits behind the point.
    sign : bool, default=False
        Whether positive numbers have a sign too.

    Returns
    -------
    str
        The number.

    Examples
    --------
    >>> write_number(0.1236), write_number(0.1236, sign=True), write_number(-0.0001)
    ('0.124', '+0.124', '0.000')
    """
    value = round(value, digits) + 0.0
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")
