"""The report of a comparison: one HTML file that needs nothing else, and its table as CSV."""

import csv
from functools import partial
from html import escape
from pathlib import Path

from patchdistill.journal.files import write_whole
from patchdistill.pages import write_image, write_number, write_page, write_table
from patchdistill.relational.comparison import FACES, rank_versions
from patchdistill.relational.description import THRESHOLD
from patchdistill.relational.heat import LESS, LIMIT, MORE
from patchdistill.relational.pictures import describe_shift

COLUMNS = (
    *("image", "reference", "score", "rank", "channel", "mean", "worst_tenth", "direction", "area"),
    *("top", "left", "bottom", "right"),
)


def write_comparisons(comparisons, names, folder):
    """Write the report and the table of comparisons.

    Parameters
    ----------
    comparisons : list of Comparison
        What was compared, with pictures.
    names : list of str
        What each is called in the report.
    folder : path-like
        Folder that exists. It gets ``report.html`` and ``channels.csv``, one row per picture and channel.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    write_whole(folder / "channels.csv", partial(_write_csv, comparisons))
    page = folder / "report.html"
    write_whole(page, partial(Path.write_text, data=render(comparisons, names), encoding="utf-8"))
    return page


def _write_csv(comparisons, path):
    ranks, _ = rank_versions(comparisons)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for comparison, rank in zip(comparisons, ranks, strict=True):
            for report in comparison.channels:
                numbers = report.mean, report.worst_tenth, report.word, report.area
                of_image = comparison.image, comparison.reference, comparison.score, rank
                writer.writerow([*of_image, report.channel, *numbers, *(report.box or [""] * 4)])


def render(comparisons, names):
    """Make the page.

    Parameters
    ----------
    comparisons : list of Comparison
        What was compared, with pictures.
    names : list of str
        What each is called.

    Returns
    -------
    str
        HTML.
    """
    ranks, counts = rank_versions(comparisons)
    by_reference = {}
    for item in zip(comparisons, names, ranks, counts, strict=True):
        by_reference.setdefault(item[0].reference, []).append(item)
    parts = [f"<h1>{_count(len(names), 'picture')} compared with {_reference_words(len(by_reference))}</h1>"]
    sections = []
    for reference, items in by_reference.items():
        items.sort(key=lambda item: (item[2], item[1]))
        first = items[0][0]
        parts.append(f'<p class="headline">{_headline(items)}</p>')
        if len(items) > 1:
            parts.append(_ranking(items))
        sections.append(f"<h2>Reference: {escape(Path(reference).name)}</h2>")
        sections.append(_tiles([_tile(first.pictures["reference"], f"the reference, {first.width} x {first.height}")]))
        sections.extend(_faces(first, "reference"))
        sections.extend(part for item in items for part in _section(*item))
    return write_page(f"patchdistill: {_count(len(names), 'picture')} compared", [*parts, _explanation(), *sections])


def _headline(items):
    (best, best_name, _, n), (_, worst_name, worst_rank, _) = items[0], items[-1]
    if n == 1:
        return f"{escape(best_name)}: {escape(words(best))}."
    if worst_rank == 1:
        return f"All {n} versions of {escape(Path(best.reference).name)} have the same score."
    of = escape(Path(best.reference).name)
    return f"Of {n} versions of {of}, {escape(best_name)} is nearest to it, and {escape(worst_name)} is furthest."


def words(comparison):
    """Say what changed in a picture.

    Parameters
    ----------
    comparison : Comparison
        The picture compared with its reference.

    Returns
    -------
    str
        The directions, strongest first, or "unchanged".
    """
    changed = [report for report in comparison.channels if report.word != "unchanged"]
    changed.sort(key=lambda report: -abs(report.worst_tenth))
    return ", ".join(report.word for report in changed) or "unchanged"


def _ranking(items):
    head = ("picture", "what changed, most first", "score", "rank")
    rows = [
        ((escape(name), escape(words(comparison)), write_number(comparison.score), f"{rank} of {count}"), False)
        for comparison, name, rank, count in items
    ]
    return write_table(head, rows, n_text=2)


def _section(comparison, name, rank, count):
    title = f"{escape(name)}: score {write_number(comparison.score)}" + f", rank {rank} of {count}" * (count > 1)
    parts = [f"<h3>{title}</h3>"]
    if comparison.shift != (0, 0):
        shift = describe_shift(comparison.shift, comparison.geometry)
        parts.append(f"<p><b>Caution.</b> The picture {escape(shift)}.</p>")
    parts.append(_channels(comparison))
    tiles = [_tile(comparison.pictures["image"], "the picture")]
    for report in comparison.channels:
        if report.channel in comparison.pictures:
            caption = f"<b>{escape(report.channel)}</b>: {escape(report.word)} ({_signed(report.worst_tenth)})"
            tiles.append(_tile(comparison.pictures[report.channel], caption, _marks(report.box, comparison)))
    parts.append(_tiles(tiles))
    for report in comparison.channels:
        parts.extend(_faces(comparison, report.channel))
    return parts


def _channels(comparison):
    head = ("channel", "direction", "mean", "worst tenth", "area", "worst region: top", "left", "bottom", "right")
    rows = []
    for report in comparison.channels:
        numbers = _signed(report.mean), _signed(report.worst_tenth), f"{report.area:.0%}"
        box = map(str, report.box or ("",) * 4)
        rows.append(((escape(report.channel), escape(report.word), *numbers, *box), False))
    return write_table(head, rows, n_text=2)


def _signed(value):
    return write_number(value, digits=2, sign=True)


def _tiles(tiles, kind="tiles"):
    return f'<div class="{kind}">{"".join(tiles)}</div>'


def _tile(data, caption, marks=""):
    """Make a figure of a small picture; the caption is HTML."""
    plain = caption.replace("<b>", "").replace("</b>", "")
    image = f'<div class="marked">{write_image(data, "jpeg", plain)}{marks}</div>'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _marks(box, comparison):
    """Outline the worst region; across the seam of a panorama it has two parts."""
    top, left, bottom, right = box
    parts = [(left, right)] if left < right else [(left, comparison.width), (0, right)]
    return "".join(
        f'<span style="top:{top / comparison.height:.2%};height:{(bottom - top) / comparison.height:.2%};'
        f'left:{start / comparison.width:.2%};width:{(end - start) / comparison.width:.2%}"></span>'
        for start, end in parts
    )


def _faces(comparison, shown):
    if shown not in comparison.faces:
        return []
    faces = [_tile(data, f"{escape(shown)}, {face}") for data, face in zip(comparison.faces[shown], FACES, strict=True)]
    return [_tiles(faces, "tiles six")]


def _explanation():
    colors = [f"rgb{color}" for color in (LESS, (255, 255, 255), MORE)]
    bar = (
        f'<div style="max-width:30rem"><div style="height:1rem;border:1px solid #999;'
        f'background:linear-gradient(to right,{",".join(colors)})"></div>'
        '<div style="display:flex;justify-content:space-between">'
        f"<span>less: {write_number(-LIMIT, 1)}</span><span>0</span><span>more: +{LIMIT}</span></div></div>"
    )
    return (
        "<h2>How to read this</h2>"
        "<p>Every number tells how much more of a channel the picture has than its reference, in places of 8 x 8 "
        "pixels: 0 is no difference, and -1 or 1 is the strongest distortion that the scale knows. One unit is about "
        "as harmful in every channel.</p>"
        f"{bar}"
        "<p>The picture is shown in gray under these colors, which are the same in all pictures. The outline is the "
        "worst region.</p>"
        '<p class="note">Worst tenth: mean over the tenth of the picture that changed most in the direction that '
        f"dominates. If it is not beyond {THRESHOLD}, the channel is called unchanged and not shown. Area: share of "
        f"the picture beyond {THRESHOLD}. Worst region: box around the connected region beyond {THRESHOLD} that sums "
        "to most, in pixels; on panoramas it may go on from the right border at the left one. Score: 0 for the "
        "reference itself, lower is worse; it was learned without opinions of people. Ranks are among the versions of "
        "one reference, 1 is best.</p>"
    ).replace("and -1", "and \N{MINUS SIGN}1")


def _count(n, thing):
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _reference_words(n):
    return "the reference" if n == 1 else f"{n} references"
