"""Sentences that say what a study found, and no more."""

import numpy as np

from patchdistill.pages import write_number
from patchdistill.studies.findings import compare, of_default, verdict

# What :func:`patchdistill.studies.findings.verdict` says of residual selection against random selection.
OUTCOMES = {
    "better": "better than random",
    "unclear": "no clear difference",
    "worse": "worse than random",
    "unknown": "too few splits",
}


def number(value, digits=3, sign=False):
    """Write a number, or a dash where there is none.

    Parameters
    ----------
    value : float
        The number; NaN for none.
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
    >>> number(0.1236), number(0.1236, sign=True), number(float("nan"))
    ('0.124', '+0.124', '–')
    """
    return "–" if np.isnan(value) else write_number(value, digits, sign)


def interval(row):
    """Write a difference with its 95 % interval.

    Parameters
    ----------
    row : Series or dict
        A row of :func:`patchdistill.studies.findings.compare`.

    Returns
    -------
    str
        Such as ``+0.010 (−0.002 to +0.022)``.
    """
    if np.isnan(row["low"]):
        return number(row["value"], sign=True)
    low, high = (number(row[end], sign=True) for end in ("low", "high"))
    return f"{number(row['value'], sign=True)} ({low} to {high})"


def share(rate):
    """Write a rate: a share of the patches, or their number if it is above 1.

    Parameters
    ----------
    rate : float
        The rate.

    Returns
    -------
    str
        Such as ``45 %``, with a space where no line is broken.

    Examples
    --------
    >>> print(share(0.45), share(0.025), share(12), sep=", ")
    45\N{NO-BREAK SPACE}%, 2.5\N{NO-BREAK SPACE}%, 12\N{NO-BREAK SPACE}patches
    """
    return f"{100 * rate:g}\N{NO-BREAK SPACE}%" if rate <= 1 else f"{rate:g}\N{NO-BREAK SPACE}patches"


def or_never(rate):
    """Write the smallest rate at which something holds.

    Parameters
    ----------
    rate : float
        The rate; NaN if there is none.

    Returns
    -------
    str
        The rate, or that it never holds.
    """
    return "never" if np.isnan(rate) else share(rate)


def headline(cells, settings):
    """Say in one sentence whether the selection is better than random selection.

    Parameters
    ----------
    cells : DataFrame
        Cells of a study.
    settings : dict
        Its settings.

    Returns
    -------
    str
        The sentence. It is about the default metric and h, which were not chosen by the results.
    """
    compared = of_default(compare(cells, "random"), settings)
    verdicts = compared.apply(verdict, axis=1) if len(compared) else compared["value"]
    n_known = (verdicts != "unknown").sum()
    if not n_known:
        return "No two splits can be compared yet: nothing is known about residual against random selection."
    metric, h = settings["default"]["metric"], settings["default"]["h"]
    n_better, n_worse, n_unclear = ((verdicts == name).sum() for name in ("better", "worse", "unclear"))
    if not n_better:
        end = "nowhere is it shown to be better than plain random selection"
    elif n_better == n_known:
        end = "it is better than plain random selection everywhere"
    else:
        end = "where it is not better, nothing speaks against plain random selection, which costs less"
    return (
        f"Residual selection ({metric}, h = {h}) against as many random patches, by SRCC: better in {n_better}, worse "
        f"in {n_worse}, no clear difference in {n_unclear} of {n_known} comparisons; {end}."
    )


def limits(settings):
    """Say what the study does not show.

    Parameters
    ----------
    settings : dict
        Settings of the study.

    Returns
    -------
    list of (str, str)
        A few words, and the sentences that belong to them.
    """
    return [
        (
            "The labels",
            f"are {settings['label']}. Where they were computed rather than rated by people, a "
            "model that predicts them well need not agree with people.",
        ),
        (
            "Few scenes, used again and again.",
            f"The {settings['n_seeds']} splits are of the same {settings['n_scenes']} scenes, and their test sets "
            "overlap. Means and standard deviations over splits describe this collection. The intervals allow for the "
            "overlap by a rule of thumb (corrected resampled t-test), and say nothing about other kinds of scenes.",
        ),
        (
            "Many comparisons.",
            "Each is made at 95 %: one in twenty would leave out zero by chance alone. The smallest of several rates "
            "at which something holds is a lucky one now and then, for random selection as well.",
        ),
        (
            "Cost.",
            "All patches are sampled and embedded before any is dropped. Selection can save the time of the model "
            "alone, never that of the embedding.",
        ),
        (
            "One embedding,",
            f"{settings['embedding']}. With another one the selection may behave otherwise.",
        ),
        (
            "These models:",
            f"{', '.join(settings['models'])}. Others may gain or lose more. Random patches count alike, while the "
            "patches that residual selection keeps may come with weights, of which some models make use.",
        ),
    ]
