"""Which selector keeps what matters? Copies, outliers, coverage and moments on bags with planted copies and outliers.

Each bag has 180 patches of a photograph: 120 clean ones that do not overlap, 36 near copies of 12 of them and 24
outliers (see _planted.py); 72 are kept. Every selector sees the same embeddings. With PatchStatistics, whose units are
mixed, the residual selectors get normalize="columns", as the documentation advises; the others see the embeddings as
they are, which serves them better here than normalizing. The threshold of the default selection was chosen on every
second picture in alphabetical order; both halves are reported.
"""

import statistics
import time
from functools import partial

import numpy as np
from _common import RandomFilters, arguments, bundled_paths, real_paths, write_results
from _peers import installed_peers
from _planted import N_KEPT, N_PATCHES, OUTLIER, OUTLIER_KINDS, PlantedBag, is_large_enough, judge, moment_errors
from _resume import Pieces
from PIL import Image
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from patchdistill import ResidualPatchSelector, baselines
from patchdistill.embedding import PatchStatistics
from patchdistill.images import read_image

N_SEEDS = 2  # bags per picture
N_RANDOM = 20  # random selections per bag
N_STABILITY = 3  # pictures whose bags are also permuted, scaled, and selected from with another seed
MOST_ENLARGED = 1.5
NORMALIZE = {"random filters": "rows", "PatchStatistics": "columns"}
SLOW = ("published script", "apricot_facility_location", "coreax_kernel_herding")  # on the first bag of each picture
DEFAULT, RANDOM, BAR = "default selection", "random", "trim, then k-medoids"


def selectors(encoder):
    """All of ours, by the name they have in the table."""
    ours = ResidualPatchSelector(rate=N_KEPT, normalize=NORMALIZE[encoder])
    return {
        RANDOM: baselines.RandomPatchSelector(N_KEPT),
        DEFAULT: ours,
        "lowest residual": clone(ours).set_params(coverage=None),
        "highest residual": clone(ours).set_params(coverage=None, keep="high"),
        "cover without dropping": clone(ours).set_params(outlier_threshold=np.inf),
        BAR: baselines.TrimmedMedoidsSelector(N_KEPT),
        "k-medoids": baselines.KMedoidsSelector(N_KEPT),
        "k-means centers": baselines.KMeansSelector(N_KEPT),
        "facility location": baselines.FacilityLocationSelector(N_KEPT),
        "farthest point": baselines.FarthestPointSelector(N_KEPT),
        "kernel herding": baselines.KernelHerdingSelector(N_KEPT),
        "highest variance": baselines.HighVarianceSelector(N_KEPT),
        "published script": baselines.PublishedPatchSelector(N_KEPT),
    }


def run_selector(selector, E, seed=0):
    """Kept patches and weights of one of our selectors."""
    selector = clone(selector)
    if "random_state" in selector.get_params():
        selector.set_params(random_state=seed)
    selector.fit([E])
    return selector.selected_idx_[0], selector.weights_[0]


def run_peer(function, E, seed=0):
    """Kept patches of another package, without weights."""
    return np.asarray(function(E, N_KEPT, seed), dtype=int), None


def overlap(kept, others):
    """Share of the kept patches that another run keeps too."""
    return float(np.isin(kept, others).mean())


class Stopwatch:
    """A function that remembers how long its calls took."""

    def __init__(self, function):
        self.function, self.seconds = function, []

    def __call__(self, *arguments, **keywords):
        start = time.perf_counter()
        result = self.function(*arguments, **keywords)
        self.seconds.append(time.perf_counter() - start)
        return result


def examine(run, bag, E, stability):
    """Everything that is measured of one selector on one bag; its stability where that is asked for."""
    run = Stopwatch(run)
    kept, weights = run(E)
    result = judge(bag, E, kept, weights) | {"n_kept": len(kept)}
    plain = moment_errors(E[bag.kind == 0], E[kept])
    result |= {f"{name}_unweighted": value for name, value in plain.items()}
    result["outliers_left"] = [int((bag.kind[kept] == OUTLIER + k).sum()) for k in range(len(OUTLIER_KINDS))]
    if stability:
        order = np.random.default_rng(0).permutation(N_PATCHES)
        result["same_permuted"] = overlap(kept, order[run(E[order])[0]])
        result["same_scaled"] = overlap(kept, run(7.3 * E)[0])
        result["same_other_seed"] = overlap(kept, run(E, seed=1)[0])
    result["ms"] = 1e3 * statistics.median(run.seconds)
    return result


def examine_bag(picture, seed, encoder, encode, peers, stability):
    """All selectors on one bag."""
    bag = PlantedBag(picture, seed)
    E = encode(bag.pixels)
    runs = {name: partial(run_selector, ours) for name, ours in selectors(encoder).items()}
    runs |= {function.__name__: partial(run_peer, function) for function in peers}
    runs = {name: run for name, run in runs.items() if seed == 0 or name not in SLOW}
    with threadpool_limits(1):
        results = {name: examine(run, bag, E, stability) for name, run in runs.items()}
    draws = [examine_random(runs[RANDOM], bag, E, draw) for draw in range(N_RANDOM)]
    results[RANDOM] |= {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}
    for result in results.values():
        result["coverage"] /= results[RANDOM]["coverage"] if result is not results[RANDOM] else 1.0
    results[RANDOM]["coverage"] = 1.0
    return results


def examine_random(run, bag, E, seed):
    """One of the many random selections."""
    kept, _ = run(E, seed=seed)
    return judge(bag, E, kept)


def pictures(limit=None):
    """Pictures that are large enough, small ones enlarged a little; a dict of name to pixels."""
    paths = [*real_paths("photos")[:limit], *real_paths("panoramas")[:limit], *bundled_paths()[:limit]]
    found = {path.stem: enlarged(read_image(path)) for path in sorted(paths, key=lambda path: path.stem)}
    return {name: found[name] for name in list(found)[:limit] if is_large_enough(found[name])}


def enlarged(picture):
    """The picture, enlarged by as little as makes room for a bag, if that is at most half as wide again."""
    height, width = picture.shape[:2]
    for factor in np.arange(1.0, MOST_ENLARGED + 0.01, 0.02):
        size = (round(width * factor), round(height * factor))
        if is_large_enough(np.empty((size[1], size[0], 0))):
            if factor == 1:
                break
            return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    return picture


def summarize(results, names):
    """Mean over bags of every figure, and the median time."""
    rows = {}
    for selector in next(iter(results.values())):
        of_bags = [results[name][selector] for name in names if selector in results[name]]
        keys = [key for key in max(of_bags, key=len) if key != "outliers_left"]
        row = {key: round(float(np.mean([bag[key] for bag in of_bags if key in bag])), 4) for key in keys}
        left = np.mean([bag["outliers_left"] for bag in of_bags], axis=0)
        row["outliers_left"] = dict(zip(OUTLIER_KINDS, left.round(3).tolist(), strict=True))
        row["ms"] = round(float(np.median([bag["ms"] for bag in of_bags])), 2)
        rows[selector] = row
    return rows


def main():
    options = arguments(__doc__).parse_args()
    peers, missing = installed_peers()
    print("peers:", ", ".join(peers.values()), "| missing:", ", ".join(missing) or "none")
    shown = pictures(1 if options.smoke else None)
    nss = PatchStatistics().fit([])
    encoders = {
        "random filters": RandomFilters(64 if options.smoke else 2048),
        "PatchStatistics": lambda pixels: nss.transform([pixels]).values,
    }
    settings = {
        "peers": sorted(peers.values()),
        "selectors": [{name: repr(ours) for name, ours in selectors(encoder).items()} for encoder in encoders],
        "smoke": options.smoke,
    }
    pieces = Pieces("quality", settings, options.out.parent if options.smoke and options.out else None)
    n_seeds = 1 if options.smoke else N_SEEDS
    tables = {}
    for encoder, encode in encoders.items():
        work = {
            f"{encoder} {name} {seed}": partial(examine_bag, picture, seed, encoder, encode, peers, k < N_STABILITY)
            for k, (name, picture) in enumerate(shown.items())
            for seed in range(n_seeds)
        }
        results = pieces.compute(work)
        halves = {"all": list(results)}
        for position, half in enumerate(("chosen on", "confirmed on")):
            of_half = list(shown)[position::2]
            halves[half] = [f"{encoder} {name} {seed}" for name in of_half for seed in range(n_seeds)]
        tables[encoder] = {half: summarize(results, names) for half, names in halves.items() if names}
        for selector, row in tables[encoder]["all"].items():
            print(f"{encoder}  {selector:28}", *(f"{key}={value}" for key, value in row.items()), flush=True)
    results = {"pictures": list(shown), "bags_per_picture": n_seeds, "n_kept": N_KEPT, "n_patches": N_PATCHES}
    results |= {"peers": sorted(peers.values()), "missing": missing, "tables": tables}
    write_results("bench_selection_quality", results, options.out)


if __name__ == "__main__":
    main()
