"""What maps and scores of relational quality are worth on pictures and distortions they have never seen.

Everything that is studied learned from dead leaves. Tested on photographs and panoramas: maps against labels; operators
that nothing was trained with; each channel left out of both stages; the order of versions whose order is known; and
opinion scores of people. Without the test data, on the photographs that scikit-image has, and without people.
"""

import csv
from functools import partial

import numpy as np
from _common import arguments, data_folder, real_paths, write_results
from _rated_pairs import rated_pairs
from _relational import (
    across_figures,
    all_measures,
    crop,
    describe_unseen,
    map_figures,
    map_leads,
    map_sums,
    rated_figures,
    unseen_figures,
    within_figures,
)
from _resume import Pieces
from joblib import Parallel, delayed

from patchdistill.datasets import dead_leaves
from patchdistill.images import read_image
from patchdistill.relational import ClassicalRelationalMap, DistortionEngine, RelationalScorer
from patchdistill.relational.channels import CORE6
from patchdistill.relational.masks import draw_kind, make_mask
from patchdistill.relational.network import RelationalMapNet
from patchdistill.relational.tiers import list_pairs, make_ranked_versions

SCORERS = {"classical": "relational", "network": "network"}
OTHERS = ("mean |D|", "PSNR", "SSIM", "MS-SSIM", "GMSD", "VIF", "MDSI")
LEADS = [*(("relational", other) for other in OTHERS), ("network", "relational")]
SEED = 7


def main():
    options = arguments(__doc__)
    options.add_argument("--n-jobs", type=int, default=2)
    arguments_ = options.parse_args()
    smoke = arguments_.smoke
    sizes = {"size": 176 if smoke else 256, "n_crops": 1 if smoke else 4, "n_photos": 2 if smoke else 24}
    sizes |= {
        "n_leaves": 2 if smoke else 48,
        "n_steps": 2 if smoke else 8,
        "n_panoramas": 1 if smoke else 20,
        "n_pairs": 8 if smoke else 800,
    }
    parallel = Parallel(n_jobs=arguments_.n_jobs)
    photos = real_paths("photos")[: sizes["n_photos"]]
    panoramas = real_paths("panoramas")[: sizes["n_panoramas"]]
    left_out = CORE6[:1] if smoke else CORE6
    work = {
        **{f"maps {m} {w}": partial(study_maps, parallel, MODELS[m], w, photos, panoramas, sizes) for m, w in MAPS},
        "leads photos": partial(study_leads, parallel, photos, sizes),
        **{f"unseen operators {m}": partial(study_unseen, parallel, m, photos, sizes) for m in SCORERS},
        **{f"ladders {m}": partial(study_ladders, parallel, m, photos, sizes) for m in SCORERS},
        "orders": partial(study_orders, parallel, photos, sizes),
        **{f"without {name}": partial(study_left_out, parallel, name, photos, sizes) for name in left_out},
    }
    if data_folder().joinpath("mos").is_dir():
        work["opinions"] = partial(study_opinions, parallel, smoke)
    pieces = Pieces("study_relational", {"sizes": sizes, "seed": SEED}, arguments_.out and arguments_.out.parent)
    write_results("study_relational", {"sizes": sizes, "results": pieces.compute(work)}, arguments_.out)


MODELS = {
    "core6": ClassicalRelationalMap.pretrained,
    "full12": partial(ClassicalRelationalMap.pretrained, "full12"),
    "network": RelationalMapNet.pretrained,
}
MAPS = [(name, content) for name in ("core6", "network") for content in ("leaves", "photos", "panoramas")]
MAPS += [("full12", "photos")]


def study_maps(parallel, make_model, content, photos, panoramas, sizes):
    """Maps against labels."""
    model = make_model()
    return map_figures(sums_of_maps(parallel, model, content, photos, panoramas, sizes), model.channel_names_)


def study_leads(parallel, photos, sizes):
    """The network against the classical map, on photographs."""
    models = MODELS["network"](), MODELS["core6"]()
    sums = (sums_of_maps(parallel, model, "photos", photos, [], sizes) for model in models)
    return map_leads(*sums, np.repeat(np.arange(len(photos)), sizes["n_crops"]), models[0].channel_names_)


def sums_of_maps(parallel, model, content, photos, panoramas, sizes):
    """What figures are made of, for each pair; the pairs of all models of the same channels are the same."""
    geometry = "panorama" if content == "panoramas" else "flat"
    engine = DistortionEngine(model.channel_names_, geometry=geometry, random_state=SEED)
    if content == "leaves":
        loads = [partial(dead_leaves, sizes["size"], random_state=10**6 + i) for i in range(sizes["n_leaves"])]
    elif content == "photos":
        loads = [partial(load_crop, path, sizes["size"], k) for path in photos for k in range(sizes["n_crops"])]
    else:
        loads = [partial(load_panorama, path) for path in panoramas for _ in range(sizes["n_crops"])]
    return parallel(delayed(map_sums)(model, engine, load, index, geometry) for index, load in enumerate(loads))


def study_unseen(parallel, map_name, photos, sizes):
    """Operators that nothing was trained with."""
    scorer = RelationalScorer.pretrained(map_name)
    rows = parallel(
        delayed(describe_unseen)(scorer, load_crop(path, sizes["size"], 0), index) for index, path in enumerate(photos)
    )
    return unseen_figures(rows, scorer.channel_names_)


def study_ladders(parallel, map_name, photos, sizes):
    """Whether the score falls with every step of every ladder: each side of each channel, everywhere and in places."""
    names, scorer = DistortionEngine().channel_names_, RelationalScorer.pretrained(map_name)
    rows = parallel(
        delayed(climb)(scorer, path, sizes["size"], name, side, masks, sizes["n_steps"])
        for path in photos
        for name in names
        for side in (0, 1)
        for masks in ("full", "mixed")
        if DistortionEngine().level_range(name)[side]
    )
    steps = np.array([step for row in rows for step in row["steps"]])
    return {
        "n_ladders": len(rows),
        "n_steps": len(steps),
        "steps_that_do_not_fall": int((steps >= 0).sum()),
        "largest_rise": float(steps.max()),
        "score_of_the_reference": max(abs(row["reference"]) for row in rows),
    }


def climb(scorer, path, size, name, side, masks, n_steps):
    """Scores along one ladder, as differences between neighboring steps."""
    engine = DistortionEngine()
    picture = load_crop(path, size, 0)
    rng = np.random.default_rng([SEED, engine.channel_names_.index(name), side])
    mask = make_mask(draw_kind(masks, rng), *picture.shape[:2], rng)
    scores = []
    for share in np.linspace(0, 1, n_steps + 1):
        levels = [share * engine.level_range(name)[side] if other == name else 0.0 for other in engine.channel_names_]
        scores.append(scorer.score(engine.apply(picture, levels, mask)[0], ref=picture))
    return {"reference": scorer.score(picture, ref=picture), "steps": np.diff(scores).tolist()}


def study_orders(parallel, photos, sizes):
    """Versions of mixed type whose order is known, of one photograph and of several."""
    scorers = all_scorers()
    parts = parallel(
        delayed(order_one)(scorers, path, sizes["size"], index, DistortionEngine()) for index, path in enumerate(photos)
    )
    return order_figures(parts)


def all_scorers():
    """Both scorers that come with the package."""
    return {name: RelationalScorer.pretrained(map_name) for map_name, name in SCORERS.items()}


def order_one(scorers, path, size, index, engine):
    """Amounts, ladders and all measures of the versions of one photograph."""
    picture = load_crop(path, size, 0)
    versions = make_ranked_versions(picture, engine, random_state=[SEED, index])
    measured = [all_measures(scorers, image, picture) for image in versions.images]
    return versions.amounts, versions.ladders, measured


def order_figures(parts):
    amounts, ladders = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    scenes = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    measured = [row for part in parts for row in part[2]]
    values = {name: np.array([row[name] for row in measured]) for name in measured[0]}
    pairs = list_pairs(amounts, scenes, ladders)
    differ = amounts[pairs["tiers"][:, 1]] - amounts[pairs["tiers"][:, 0]] > 1e-3
    mixed = ladders < 0
    of_mixed = {name: v[mixed] for name, v in values.items()}
    return {
        "n_versions": int(mixed.sum()),
        "n_photographs": len(parts),
        "tiers": within_figures(values, amounts, scenes, pairs["tiers"][differ], LEADS),
        "across_scenes": across_figures(of_mixed, amounts[mixed], scenes[mixed], LEADS),
    }


def study_left_out(parallel, name, photos, sizes):
    """Leave a channel out of both stages, and let the others judge versions that it alone has spoiled."""
    rest = [other for other in CORE6 if other != name]
    model = ClassicalRelationalMap(DistortionEngine(rest, random_state=1), n_pairs=sizes["n_pairs"], n_jobs=2).fit()
    scorer = RelationalScorer(model, n_pictures=4 if sizes["n_pairs"] < 100 else 48).fit()
    full = RelationalScorer.pretrained()
    rows = parallel(delayed(judge_left_out)(scorer, full, path, sizes["size"], name) for path in photos)
    figures = {}
    for who, k in (("without", 0), ("with", 1)):
        figures[who] = {
            "score_at_highest_level": float(np.mean(np.concatenate([row[k][0] for row in rows]))),
            "ladder_steps_in_order": float(np.mean(np.concatenate([row[k][1] for row in rows]))),
        }
    return figures


def judge_left_out(scorer, full, path, size, name):
    """Scores of both scorers along the ladders of the channel: at the highest level, and whether steps are in order."""
    engine = DistortionEngine([name])
    picture = load_crop(path, size, 0)
    result = []
    for judge in (scorer, full):
        last, ordered = [], []
        for end in (level for level in engine.level_range(name) if level):
            scores = [
                judge.score(engine.apply(picture, [share * end])[0], ref=picture) for share in (0.25, 0.5, 0.75, 1.0)
            ]
            last.append(scores[-1])
            ordered += (np.diff(scores) < 0).tolist()
        result.append((last, ordered))
    return result


def study_opinions(parallel, smoke):
    """Rows of TID2013 made again, and pictures of TID2013 themselves."""
    scorers = all_scorers()
    chosen = {"kinds": {1, 8}, "scenes": {"kodim03", "kodim04"}} if smoke else {}
    pairs = list(rated_pairs(**chosen))
    measured = parallel(delayed(all_measures)(scorers, pair.distorted, pair.reference) for pair in pairs)
    values = {name: np.array([row[name] for row in measured]) for name in measured[0]}
    mos, scenes, kinds = (np.array([getattr(pair, key) for pair in pairs]) for key in ("mos", "scene", "kind"))
    exact = np.array([pair.exact for pair in pairs])
    return {
        "n_rows": len(pairs),
        "all": rated_figures(values, mos, scenes, kinds),
        "exact crops": rated_figures({k: v[exact] for k, v in values.items()}, mos[exact], scenes[exact], kinds[exact]),
        "calibration": calibration(scorers),
    }


def calibration(scorers):
    """Real pictures of TID2013 with their opinion scores."""
    folder = data_folder() / "calibration"
    rows = []
    for row in csv.DictReader((folder / "tid2013_identity.csv").open()):
        if row["tid2013_mos_0_9"]:
            ref, image = (read_image(folder / part / row["file"]) for part in ("ref_dir", "dist_dir"))
            rows.append(
                {"file": row["file"], "mos": float(row["tid2013_mos_0_9"]), **all_measures(scorers, image, ref)}
            )
    return rows


def load_crop(path, size, seed):
    """Cut a square out of a photograph."""
    return crop(read_image(path), size, seed)


def load_panorama(path):
    """Read a panorama at half its size."""
    picture = read_image(path).astype(np.float32) / 255
    height, width = (side // 16 * 16 for side in picture.shape[:2])
    return picture[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))


if __name__ == "__main__":
    main()
