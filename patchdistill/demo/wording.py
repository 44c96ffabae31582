"""Sentences that say what the numbers say, and no more."""

from patchdistill.demo.study import DEFAULT_RATE
from patchdistill.pages import write_number

NAMES = {
    "cover": "default selection",
    "low": "lowest residuals",
    "high": "highest residuals",
    "random": "random",
}


def number(value, digits=3, sign=False):
    """Write a number, or that there is none."""
    if value is None:
        return "undefined (constant predictions)"
    return write_number(value, digits, sign)


def interval(figure, sign=False):
    """Write an estimate with its 95 % interval."""
    if figure["value"] is None:
        return number(None)
    low, high = (number(figure[end], sign=sign) for end in ("low", "high"))
    return f"{number(figure['value'], sign=sign)} ({low} to {high})"


def verdict(difference):
    """Which side a difference is on: 1, -1, 0 where its interval contains zero, None where it is not defined."""
    if difference["value"] is None:
        return None
    return int(difference["low"] > 0) - int(difference["high"] < 0)


def find_row(study, mode, selector, rate):
    """Find one row of :func:`patchdistill.demo.study.compare`."""
    return next(
        row for row in study["rows"] if row["mode"] == mode and row["selector"] == selector and row["rate"] == rate
    )


_SIDES = {
    1: "better than",
    0: "no clear difference from",
    -1: "worse than",
    None: "not comparable, because predictions are constant, with",
}


def headline(study, rate=DEFAULT_RATE):
    """Say in one sentence what came out at the default rate, by SRCC.

    Parameters
    ----------
    study : dict
        What :func:`patchdistill.demo.study.compare` returns.
    rate : float, default=0.45
        One of the rates of the study.

    Returns
    -------
    str
        The sentence. A side is named better only if the 95 % interval of the difference leaves out zero.
    """
    retrained, fixed = (_comparisons(find_row(study, mode, "cover", rate)) for mode in ("retrained", "fixed"))
    if retrained == fixed:
        outcome = f"{retrained}, both with a model retrained on them and with one trained on all patches"
    else:
        outcome = f"{retrained}, with a model retrained on them; {fixed}, with a model trained on all patches"
    return f"Predicting quality from the {rate:.0%} of patches that the default selection keeps: {outcome}."


def _comparisons(row):
    to_all, to_random = verdict(row["srcc_minus_all"]), verdict(row["srcc_minus_random"])
    if to_all == to_random:
        than = _SIDES[to_all].split()[-1]
        return f"{_SIDES[to_all]} all patches {'and' if to_all else 'or'} {than} as many random ones"
    return f"{_SIDES[to_all]} all patches, but {_SIDES[to_random]} as many random ones"


def findings(study, rate=DEFAULT_RATE):
    """Give the figures behind the headline, and what the other rates and selections say.

    Parameters
    ----------
    study : dict
        What :func:`patchdistill.demo.study.compare` returns.
    rate : float, default=0.45
        One of the rates of the study.

    Returns
    -------
    list of str
        Sentences.
    """
    sentences = [f"All patches: SRCC {interval(study['all']['srcc'])}, PLCC {interval(study['all']['plcc'])}."]
    for mode in ("retrained", "fixed"):
        rows = {name: find_row(study, mode, name, rate) for name in NAMES}
        values = ", ".join(f"{name} {_srcc(rows[key])}" for key, name in NAMES.items())
        sentences.append(
            f"{mode.capitalize()}, {rate:.0%} kept, SRCC: {values}. "
            f"Default selection minus all patches: {interval(rows['cover']['srcc_minus_all'], sign=True)}; "
            f"minus random: {interval(rows['cover']['srcc_minus_random'], sign=True)}."
        )
    for mode in ("retrained", "fixed"):
        sentences.extend(_over_rates(study, mode, name) for name in NAMES if name != "random")
    return [*sentences, _changes(study)]


def _srcc(row):
    text = number(row["srcc"]["value"])
    if "sd" not in row["srcc"]:
        return text
    return f"{text} ± {'unknown' if row['srcc']['sd'] is None else number(row['srcc']['sd'])}"


def _over_rates(study, mode, name):
    rows = [row for row in study["rows"] if row["mode"] == mode and row["selector"] == name]
    rates = {side: [f"{r['rate']:.0%}" for r in rows if verdict(r["srcc_minus_random"]) == side] for side in _SIDES}
    outcomes = "; ".join(f"{words} random at {', '.join(rates[side])}" for side, words in _SIDES.items() if rates[side])
    return f"{mode.capitalize()}, {NAMES[name]}, SRCC over all rates: {outcomes}."


def _changes(study):
    rows = [row for row in study["rows"] if row["mode"] == "fixed" and row["selector"] == "cover"]
    changes = "; ".join(
        f"{number(row['change'])} and {number(find_row(study, 'fixed', 'random', row['rate'])['change'])} "
        f"at {row['rate']:.0%}"
        for row in rows
    )
    return (
        "Fixed, how far the predictions move from those with all patches (root mean square, in standard deviations of "
        f"the labels), with the default selection and with random patches: {changes}."
    )


def panorama_caption(panorama):
    """Say what the figure of the panorama shows.

    Parameters
    ----------
    panorama : dict
        The results of :func:`patchdistill.demo.panorama.select_on_panorama`.

    Returns
    -------
    str
        Sentences.
    """
    size = f"{panorama['width']} x {panorama['height']} pixels"
    if panorama["picture"] is None:
        source = (
            "This panorama is synthetic: no picture at hand is exactly twice as wide as high, and nothing is "
            f"downloaded. It shows dead leaves, discs of many sizes that cover each other on the sphere, at {size}."
        )
    else:
        source = (
            f"The picture is {panorama['picture']}, the first one that is exactly twice as wide as high and so taken "
            f"for a panorama, at {size}."
        )
    return (
        f"{source} The half to the right of the dashed line, longitudes 0° to 180°, was spoiled: "
        f"{panorama['distortion']}, quality {panorama['strength']}. Clear: kept. Dark: dropped. Gray: in no patch. "
        f"The {panorama['n_patches']} patches of {panorama['patch_size']} x {panorama['patch_size']} pixels are the "
        "sparser the nearer they are to a pole. Small: kept patches as they were cut out of the picture, and tangent "
        "views, what is seen in the same directions from the middle of the sphere. Near the equator the two are alike; "
        "towards the poles the picture is stretched."
    )


def example_title(shown):
    """Say where one of the patches that are shown lies, and how much it counts.

    Parameters
    ----------
    shown : dict
        One of ``panorama["shown"]``.

    Returns
    -------
    str
        The title of its pictures.
    """
    lon, lat = (number(shown[key], digits=0) for key in ("lon", "lat"))
    return f"lon {lon}°, lat {lat}°, weight {number(100 * shown['weight'], digits=1)} %"


def panorama_findings(panorama):
    """Say how much of the kept patches is spoiled.

    Parameters
    ----------
    panorama : dict
        The results of :func:`patchdistill.demo.panorama.select_on_panorama`.

    Returns
    -------
    list of str
        Sentences.
    """
    shares = panorama["spoiled"]
    everything, kept, weighted = (f"{number(100 * shares[key], digits=1)} %" for key in ("all", "kept", "weighted"))
    n_outliers = panorama["n_outliers"]
    set_aside = "No patch was set aside because it stands apart."
    if n_outliers:
        of_these = f"{number(100 * shares['outliers'], digits=1)} % of their pixels are spoiled"
        set_aside = f"Set aside because they stand apart: {n_outliers}; {of_these}."
    return [
        f"Of the pixels of all {panorama['n_patches']} patches {everything} are spoiled; of those of the "
        f"{panorama['n_kept']} kept ones {kept}, and {weighted} where each patch counts with its weight. "
        f"For as many random patches that share has a standard deviation of "
        f"{number(100 * shares['random_sd'], digits=1)} points.",
        set_aside,
        "One picture, one fault, one selection: this shows what the selection does on a sphere, not that quality is "
        "predicted better.",
    ]
