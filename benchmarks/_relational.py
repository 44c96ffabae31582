"""What the study of relational quality measures: maps against labels, and scores against known orders and opinions."""

from functools import partial

import numpy as np
from scipy import ndimage
from scipy.stats import kendalltau, spearmanr

from patchdistill.codecs import through_file, to_8_bits
from patchdistill.evaluation import gmsd, grouped_bootstrap, mdsi, ms_ssim, psnr, ssim, vif
from patchdistill.relational.features import cell_mean

ACTIVE = 0.05

# Larger is better.
MEASURES = {
    "PSNR": psnr,
    "SSIM": ssim,
    "MS-SSIM": ms_ssim,
    "GMSD": lambda ref, image: -gmsd(ref, image),
    "VIF": vif,
    "MDSI": lambda ref, image: -mdsi(ref, image),
}


def crop(picture, size, seed):
    """Cut a square out, somewhere."""
    rng = np.random.default_rng(seed)
    top, left = (int(rng.integers(side - size + 1)) for side in picture.shape[:2])
    return picture[top : top + size, left : left + size]


def map_sums(model, engine, load, index, geometry="flat"):
    """Sums over the cells of one pair that all figures of a map can be made of; `load` gives the picture."""
    picture = load()
    sample = engine.sample(picture, index)
    found = model.predict_map(sample.a, sample.b, geometry)
    back = model.predict_map(sample.b, sample.a, geometry)
    trim = (..., *(slice(side - side % 8) for side in picture.shape[:2]))
    label, valid = cell_mean(sample.label[trim]), cell_mean(sample.valid[trim].astype(np.float32)) >= 0.5
    found_cells = found[:, : label.shape[1], : label.shape[2]]
    p, y = found_cells[:, valid].astype(float), label[:, valid].astype(float)
    active, seen = abs(y) > ACTIVE, abs(p) > ACTIVE
    alone = active & (active.sum(axis=0) == 1)
    return {
        "n": y.shape[1],
        "y": y.sum(axis=1),
        "yy": (y**2).sum(axis=1),
        "ee": ((p - y) ** 2).sum(axis=1),
        "active": active.sum(axis=1),
        "signs": (active & (np.sign(p) == np.sign(y))).sum(axis=1),
        "both": (active & seen).sum(axis=1),
        "either": (active | seen).sum(axis=1),
        # Row i: absolute values of all channels where channel i alone is active.
        "talk": np.array([abs(p[:, row]).sum(axis=1) for row in alone]),
        "swap": float(abs(found + back).max()),
    }


def map_figures(sums, names):
    """R2, sign accuracy, IoU and cross-talk per channel from the sums of all pairs."""
    both, either, talk = _totals(sums, "both", "either", "talk")
    own = talk.diagonal()
    per_channel = {**_accuracy(sums), "iou": both / either}
    return {
        "n_pairs": len(sums),
        **{figure: dict(zip(names, values.tolist(), strict=True)) for figure, values in per_channel.items()},
        "cross_talk": {
            name: dict(zip(names, (row / scale).tolist(), strict=True))
            for name, row, scale in zip(names, talk, own, strict=True)
        },
        "swap_error": max(part["swap"] for part in sums),
    }


def map_leads(ours, theirs, groups, names):
    """By how much one map is better than another on the same pairs, with intervals over pictures."""
    index = np.arange(len(groups))

    def lead(figure, k, _, rows):
        first, second = (_accuracy([sums[i] for i in rows])[figure][k] for sums in (ours, theirs))
        return float(first - second)

    return {
        name: {
            figure: _short(grouped_bootstrap(partial(lead, figure, k), index, index, groups))
            for figure in ("r2", "sign_accuracy")
        }
        for k, name in enumerate(names)
    }


def _accuracy(sums):
    """R2 and sign accuracy of each channel over some pairs."""
    n, y, yy, ee, signs, active = _totals(sums, "n", "y", "yy", "ee", "signs", "active")
    return {"r2": 1 - ee / (yy - y**2 / n), "sign_accuracy": signs / active}


def _totals(sums, *keys):
    return [sum(np.asarray(part[key]) for part in sums) for key in keys]


def unseen_versions(picture, seed):
    """Distort by operators that nothing was trained with: (operator, strength, channel and sign expected, version)."""
    for quality in (90, 70, 50, 30, 20, 10):
        yield "JPEG", 100 - quality, "blockiness+", through_file(picture, "JPEG", quality=quality)
    for ratio in (10, 20, 40, 80, 160):
        options = {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True}
        yield "JPEG 2000", ratio, "sharpness-", through_file(picture, "JPEG2000", **options)
    for quality in (90, 70, 50, 30, 10):
        yield "WebP", 100 - quality, "sharpness-", through_file(picture, "WEBP", quality=quality)
    for width in (2, 3, 5, 7):
        blurred = ndimage.uniform_filter(picture.astype(float), (width, width, 1), mode="reflect")
        yield "box blur", width, "sharpness-", np.rint(blurred).astype(np.uint8)
    rng = np.random.default_rng(seed)
    for photons in (1000, 300, 100, 50):
        counts = rng.poisson(picture / 255 * photons) / photons
        yield "Poisson noise", 1 / photons, "noise+", np.rint(255 * np.clip(counts, 0, 1)).astype(np.uint8)


def describe_unseen(scorer, picture, seed):
    """Mean of each channel, and the score, of each version."""
    rows = []
    for operator, strength, expected, version in unseen_versions(picture, seed):
        found = scorer.map_.predict_map(version, picture)
        means = found.mean(axis=(1, 2)).astype(float)
        rows.append([operator, strength, expected, means.tolist(), scorer.score_map(found)])
    return rows


def unseen_figures(rows_of_pictures, names):
    """For each operator: the channel that stands out at its strongest, and the scores from weak to strong."""
    figures = {}
    for operator in dict.fromkeys(row[0] for rows in rows_of_pictures for row in rows):
        ordered, leading, means, scores = [], [], [], []
        for rows in rows_of_pictures:
            mine = sorted(row for row in rows if row[0] == operator)
            strongest = np.array(mine[-1][3])
            top = int(abs(strongest).argmax())
            leading.append(names[top] + ("+" if strongest[top] > 0 else "-"))
            means.append(strongest)
            scores.append([row[4] for row in mine])
            ordered.append(bool((np.diff(scores[-1]) < 0).all()))
        figures[operator] = {
            "expected": mine[0][2],
            "leading": {name: leading.count(name) / len(leading) for name in sorted(set(leading))},
            "mean_at_strongest": dict(zip(names, np.mean(means, axis=0).round(4).tolist(), strict=True)),
            "scores_fall_with_strength": float(np.mean(ordered)),
            "mean_scores": np.mean(scores, axis=0).round(4).tolist(),
        }
    return figures


def all_measures(scorers, version, ref):
    """Quality by every measure; versions are rounded to 8 bits, as files are. mean |D| is that of the first map."""
    ref, version = (to_8_bits(picture) for picture in (ref, version))
    maps = {name: scorer.map_.predict_map(version, ref) for name, scorer in scorers.items()}
    return {
        **{name: scorer.score_map(maps[name]) for name, scorer in scorers.items()},
        "mean |D|": -float(abs(next(iter(maps.values()))).sum(axis=0).mean()),
        **{name: float(measure(ref, version)) for name, measure in MEASURES.items()},
    }


def is_right(difference):
    """Tell of differences of values, better less worse, whether the order is right; half for a tie."""
    return (difference > 0) + 0.5 * (difference == 0)


def within_figures(values, amounts, scenes, pairs, leads):
    """Pair accuracy and Kendall's tau within scenes, with intervals over scenes; `leads` says what is compared."""
    right = {name: is_right(v[pairs[:, 0]] - v[pairs[:, 1]]) for name, v in values.items()}
    of_pairs = scenes[pairs[:, 0]]
    figures = {}
    for name, correct in right.items():
        taus = np.array([_tau(amounts[scenes == s], values[name][scenes == s]) for s in np.unique(scenes)])
        figures[name] = {
            "pair_accuracy": _short(grouped_bootstrap(_mean_of_second, correct, correct, of_pairs)),
            "tau_within": _short(grouped_bootstrap(_mean_of_second, taus, taus, np.unique(scenes))),
        }
    for name, other in leads:
        figures[name][f"less {other}"] = _short(
            grouped_bootstrap(_mean_of_second, right[other], right[name], of_pairs, other=right[other])
        )
    return figures


def across_figures(values, amounts, scenes, leads):
    """The same over pairs of different scenes; scenes are drawn with all their versions."""
    index = np.arange(len(amounts))

    def interval(figure):
        return _short(grouped_bootstrap(lambda _, rows: figure(rows), index, index, scenes))

    def accuracy(name, rows):
        v, a, s = values[name][rows], amounts[rows], scenes[rows]
        worse = (a[:, None] < a[None, :] - 1e-3) & (s[:, None] != s[None, :])
        return float(is_right(v[:, None] - v[None, :])[worse].mean())

    def tau(name, rows):
        return _tau(amounts[rows], values[name][rows])

    def lead(name, other, rows):
        return accuracy(name, rows) - accuracy(other, rows)

    figures = {
        name: {"pair_accuracy": interval(partial(accuracy, name)), "tau": interval(partial(tau, name))}
        for name in values
    }
    for name, other in leads:
        figures[name][f"less {other}"] = interval(partial(lead, name, other))
    return figures


def rated_figures(values, mos, scenes, kinds):
    """Agreement with opinion scores: over all, within scenes, by type."""
    figures = {}
    for name, v in values.items():
        within = np.array([spearmanr(v[scenes == s], mos[scenes == s])[0] for s in np.unique(scenes)])
        figures[name] = {
            "srcc": _short(grouped_bootstrap(lambda y, x: float(spearmanr(y, x)[0]), mos, v, scenes)),
            "krcc": float(kendalltau(v, mos)[0]),
            "srcc_within_scenes": float(within.mean()),
            "by_type": {int(k): float(spearmanr(v[kinds == k], mos[kinds == k])[0]) for k in np.unique(kinds)},
        }
    return figures


def _mean_of_second(_, values):
    return float(np.mean(values))


def _tau(amounts, values):
    """Kendall's tau-b between better and less distorted."""
    return float(kendalltau(values, -np.round(amounts, 3))[0])


def _short(found):
    return [round(found[key], 4) for key in ("value", "low", "high")]
