"""Which patches a full-reference model should look at: those that changed most, those that represent the rest, or both.

Every picture has 96 patches of 64 pixels, and a reference. Patches are kept by their map energy (how much changed, see
:mod:`patchdistill.relational.energy`), by residual selection, or by both; random selection is the mean of many seeds.
Models: squared error (PSNR), SSIM and GMSD of each kept patch against the same patch of the reference, averaged; and a
support vector regression on how the natural-scene statistics of kept patches differ from those of their references,
"retrained" on kept patches, or "fixed": trained on all patches and given kept ones. No scene is on both sides of a
split.

Two sets. TID2013 rows made again from twelve Kodak photographs (see :mod:`_rated_pairs`), whose labels are opinions of
people and whose distortions cover the whole picture. And panoramas, distorted on the whole sphere or within 120 degrees
of longitude, whose labels are computed (WS-GMSD): a mean over the sphere, which does not favor looking at a part.

Intervals are 95 % over scenes drawn again. With so few scenes they are too narrow.
"""

import hashlib
import zlib
from functools import partial

import numpy as np
from _common import arguments, real_pictures, write_results
from _distortions import distort as distort_panorama
from _evaluation import MODES, Experiment
from _rated_pairs import KINDS, distort, rated_pairs
from _resume import CACHE, Pieces
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from patchdistill import PatchBags, ResidualPatchSelector
from patchdistill.baselines import RandomPatchSelector
from patchdistill.datasets import dead_leaves
from patchdistill.demo.agreement import Agreement, summary
from patchdistill.embedding import PatchStatistics
from patchdistill.evaluation import gmsd, ssim, ws_gms
from patchdistill.evaluation.full_reference import squared_error
from patchdistill.journal.files import write_whole
from patchdistill.panorama import LatitudeSampler
from patchdistill.ranking import n_keep
from patchdistill.relational.energy import MapEnergy, MapEnergySelector
from patchdistill.sampling import GridSampler

N_PATCHES = 96
RATES = (0.05, 0.10, 0.25, 0.45)
N_SEEDS = 20
RANDOM, ALL = "random", "all patches"
REGRESSION = "statistics"
# Of a patch and its reference; higher is better. The mean squared error of patches orders pictures as their PSNR does.
MEASURES = {
    "PSNR": lambda reference, patch: -squared_error(reference, patch).mean(),
    "SSIM": ssim,
    "GMSD": lambda reference, patch: -gmsd(reference, patch),
}

PHOTOGRAPHS = tuple(f"kodim{number:02}" for number in (1, 3, 4, 5, 6, 7, 8, 13, 19, 20, 21, 23))
PANORAMA_WIDTH = 1024
PANORAMA_KINDS, PANORAMA_LEVELS = ("JPEG", "blur"), (2, 4)
PART = 1 / 3  # of the longitudes

LEAVES = ("leaves0", "leaves1", "leaves2")  # of a smoke run


class RatedSet:
    """Rated pairs of one photograph at a time; of dead leaves, and rated by their level, for a smoke run."""

    def __init__(self, smoke):
        self.smoke = smoke
        self.settings = sorted(KINDS)
        self.scenes = LEAVES if smoke else PHOTOGRAPHS
        self.sampler = GridSampler(12, 32) if smoke else GridSampler(N_PATCHES)

    def pairs(self, scene):
        """Distorted picture, reference and label of every version of a scene."""
        if not self.smoke:
            for pair in rated_pairs(scenes=[scene]):
                yield pair.distorted, pair.reference, pair.mos
            return
        reference = dead_leaves(96, 128, random_state=LEAVES.index(scene))
        for kind in (1, 8):
            for level in (1, 3, 5):
                yield distort(reference, kind, level), reference, 6.0 - level


class PanoramaSet:
    """Panoramas, distorted on the whole sphere or in part."""

    def __init__(self, smoke):
        if smoke:
            self.pictures = {name: dead_leaves(64, 128, random_state=i) for i, name in enumerate(LEAVES)}
        else:
            self.pictures = real_pictures(width=PANORAMA_WIDTH)
        self.settings = [PANORAMA_WIDTH, PANORAMA_KINDS, PANORAMA_LEVELS, PART]
        self.scenes = sorted(self.pictures)
        self.sampler = LatitudeSampler(12, 32) if smoke else LatitudeSampler(N_PATCHES)

    def pairs(self, scene):
        """Distorted picture, reference and label of every version of a scene."""
        reference = self.pictures[scene]
        for kind in PANORAMA_KINDS:
            for level in PANORAMA_LEVELS:
                seed = [zlib.crc32(scene.encode()), level]
                whole = distort_panorama(reference, kind, level, seed)
                first = np.random.default_rng([*seed, zlib.crc32(kind.encode())]).integers(reference.shape[1])
                columns = (first + np.arange(int(PART * reference.shape[1]))) % reference.shape[1]
                part = reference.copy()
                part[:, columns] = whole[:, columns]
                for image in (whole, part):
                    yield image, reference, ws_gms(reference, image)


def describe_scene(data, scene):
    """All that the study needs of the patches of a scene: dict of str to ndarray (n_images, n_patches, ...)."""
    described = [
        describe_pair(image, reference, data.sampler) | {"labels": label}
        for image, reference, label in data.pairs(scene)
    ]
    return {name: np.stack([one[name] for one in described]) for name in described[0]}


def describe_pair(image, reference, sampler):
    """Energies, statistics and measures of the patches of one pair."""
    bags = MapEnergy(sampler=sampler).transform([(image, reference)])
    patches, of_reference = bags.field("pixels", 0), bags.field("reference_pixels", 0)
    statistics, expected = PatchStatistics().transform([patches, of_reference])
    both = list(zip(of_reference, patches, strict=True))
    measured = {name: np.array([measure(*pair) for pair in both]) for name, measure in MEASURES.items()}
    return {
        "energies": bags.values.astype(np.float32),
        "statistics": statistics.astype(np.float32),
        "differences": (statistics - expected).astype(np.float32),
        **measured,
    }


def load(name, data, folder):
    """Patches of all scenes; what is in the folder is not computed again."""
    folder = folder / f"map_energy_{name}-{recipe(data)}"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{scene}.npz" for scene in data.scenes]
    missing = [(scene, file) for scene, file in zip(data.scenes, files, strict=True) if not file.exists()]
    Parallel(n_jobs=-1, verbose=5 * bool(missing))(delayed(_save)(data, *each) for each in missing)
    scenes = [dict(np.load(file, allow_pickle=False)) for file in files]
    found = {key: np.concatenate([scene[key] for scene in scenes]) for key in scenes[0]}
    return found | {"scenes": np.repeat(data.scenes, [len(scene["labels"]) for scene in scenes])}


def recipe(data):
    """Digest that changes with what is computed: the settings of the set, and what a small fixed pair gives."""
    probe = np.random.default_rng(0).integers(0, 256, (128, 256, 3), dtype=np.uint8)
    described = describe_pair(probe, probe[::-1], data.sampler)
    parts = [repr(data.settings).encode(), *(np.round(values, 3).tobytes() for values in described.values())]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


def _save(data, scene, file):
    with threadpool_limits(1):
        arrays = describe_scene(data, scene)

    def write(path):
        with open(path, "wb") as stream:
            np.savez(stream, **arrays)

    write_whole(file, write)


def strategies():
    """How patches are kept: by name, a function of the bags and the rate that gives weights."""
    return {
        "energy": by_energy,
        "residual": by_residual,
        "residual of energies": by_residual_of_energies,
        "energy within residual": by_both,
    }


def by_energy(bags, rate):
    """Those in which most changed."""
    return weights_of(MapEnergySelector(rate).fit(bags), bags)


def by_residual(bags, rate):
    """Representatives of the picture, by its statistics; the reference is not looked at."""
    return weights_of(ResidualPatchSelector(rate=rate, normalize="columns").fit(bags), bags)


def by_residual_of_energies(bags, rate):
    """Representatives of what changed."""
    energies = bags.with_values(bags.fields["energies"])
    return weights_of(ResidualPatchSelector(rate=rate, normalize=None).fit(energies), bags)


def by_both(bags, rate):
    """Of twice as many representatives, those in which most changed."""
    n_kept = n_keep(int(bags.n_patches[0]), rate)
    representatives = ResidualPatchSelector(rate=2 * n_kept, normalize="columns").fit(bags)
    kept = bags.take(representatives.selected_idx_)
    selector = MapEnergySelector(n_kept).fit(kept)
    weights = np.zeros((len(bags), bags.n_patches[0]))
    for i, chosen in enumerate(selector.selected_idx_):
        weights[i, kept.field("patch_index", i)[chosen]] = 1 / len(chosen)
    return weights


def at_random(seed, bags, rate):
    """Any patches."""
    return weights_of(RandomPatchSelector(rate, random_state=seed).fit(bags), bags)


def weights_of(selector, bags):
    """Weights (n_images, n_patches) of what a selector kept; the others have 0."""
    weights = np.zeros((len(bags), bags.n_patches[0]))
    for row, kept, of_kept in zip(weights, selector.selected_idx_, selector.weights_, strict=True):
        row[kept] = of_kept
    return weights


def study(name, data, options, folder):
    """Figures of every strategy, rate and model on one set."""
    found = load(name, data, folder)
    n_images, n_patches = found["energies"].shape[:2]
    fields = {"energies": found["energies"].reshape(n_images * n_patches, -1)}
    fields["energy"] = fields["energies"].sum(axis=1)
    flat = found["statistics"].reshape(n_images * n_patches, -1)
    bags = PatchBags(flat, np.arange(n_images + 1) * n_patches, fields=fields)
    experiment = Experiment(found["differences"], found["labels"], found["scenes"])

    def predict(weights):
        pooled = {measure: (weights * found[measure]).sum(axis=1) for measure in MEASURES}
        for (_, mode), values in experiment.predict(weights, models=("svr",)).items():
            pooled[f"{REGRESSION}, {mode}"] = values
        return {model: values.round(6).tolist() for model, values in pooled.items()}

    rates, n_seeds = (RATES[1:2], 2) if options.smoke else (RATES, N_SEEDS)
    work = {ALL: lambda: predict(experiment.everything)}
    for rate in rates:
        for strategy, keep in strategies().items():
            work[f"{rate} {strategy}"] = lambda keep=keep, rate=rate: predict(keep(bags, rate))
        for seed in range(n_seeds):
            keep = partial(at_random, seed)
            work[f"{rate} {RANDOM} {seed}"] = lambda keep=keep, rate=rate: predict(keep(bags, rate))
    settings = [name, found["labels"].round(6).tolist(), float(fields["energy"].sum())]
    with threadpool_limits(1):
        predictions = Pieces(f"map_energy_{name}", settings, folder).compute(work)
    rows = judge(predictions, found["labels"], found["scenes"], rates, n_seeds)
    return {"n_images": n_images, "n_scenes": len(data.scenes), "n_patches": n_patches, "rows": rows}


def judge(predictions, labels, scenes, rates, n_seeds):
    """Rows of the table: SRCC of each strategy, and its differences to all patches and to random selection."""
    agreement, rows = Agreement(labels, scenes), []
    for model in predictions[ALL]:

        def srcc(piece, model=model):
            return agreement(np.array(predictions[piece][model]))["srcc"]

        of_all = srcc(ALL)
        rows.append({"model": model, "rate": 1.0, "selection": ALL, "srcc": rounded(of_all)})
        for rate in rates:
            runs = np.array([srcc(f"{rate} {RANDOM} {seed}") for seed in range(n_seeds)])
            random, sd = runs.mean(axis=0), runs[:, 0].std(ddof=1)
            cell = {"model": model, "rate": rate}
            rows.append(
                cell
                | {"selection": RANDOM, "srcc": rounded(random), "srcc_sd": round(float(sd), 4)}
                | {"srcc_minus_all": rounded(random - of_all)}
            )
            for strategy in strategies():
                values = srcc(f"{rate} {strategy}")
                rows.append(
                    cell
                    | {"selection": strategy, "srcc": rounded(values), "srcc_minus_all": rounded(values - of_all)}
                    | {"srcc_minus_random": rounded(values - random)}
                    | {"verdict": verdict(values - random, sd)}
                )
    return rows


def verdict(difference, sd):
    """ "better" or "worse" than random selection: by two standard deviations of it, and with an interval beside 0."""
    found = summary(difference)
    if found["low"] > 0 and found["value"] > 2 * sd:
        return "better"
    return "worse" if found["high"] < 0 and found["value"] < -2 * sd else "undecided"


def rounded(values):
    """Estimate and interval of four decimals."""
    return {name: round(value, 4) for name, value in summary(values).items()}


def show(name, result):
    """Print the table."""
    for row in result["rows"]:
        against = row.get("srcc_minus_random", {}).get("value", "")
        print(name, *(row[k] for k in ("model", "rate", "selection")), row["srcc"]["value"], against, sep="  ")


def main():
    options = arguments(__doc__).parse_args()
    folder = options.out.parent if options.smoke and options.out else CACHE
    results = {"n_seeds": N_SEEDS, "modes": MODES, "kinds": {str(key): kind[0] for key, kind in KINDS.items()}}
    for name, make in (("tid2013", RatedSet), ("panoramas", PanoramaSet)):
        results[name] = study(name, make(options.smoke), options, folder)
        show(name, results[name])
    write_results("study_map_energy", results, options.out, indent=None)


if __name__ == "__main__":
    main()
