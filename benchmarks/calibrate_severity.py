"""How strong every operator has to be to do a given harm to the average picture: writes data/severity.json.

    python benchmarks/calibrate_severity.py [pictures]

The pictures are dead leaves, so that the file can be made again anywhere; or those of a folder.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

import patchdistill
from patchdistill.datasets import dead_leaves
from patchdistill.images import list_images, read_image
from patchdistill.relational.channels import CHANNELS, FULL12
from patchdistill.relational.harm import harm
from patchdistill.relational.operators import CODECS, operator_of
from patchdistill.relational.severity import ladder_name, make_ladder

FILE = Path(patchdistill.__file__).parent / "relational" / "data" / "severity.json"
STRENGTHS = np.linspace(0, 1, 17)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="?", help="a folder; dead leaves by default")
    parser.add_argument("--n-leaves", type=int, default=24, help="how many pictures of dead leaves (default: 24)")
    parser.add_argument("--size", type=int, default=256, help="their side in pixels (default: 256)")
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    if arguments.pictures:
        pictures, content = [read_image(path) for path in list_images(arguments.pictures)], "a folder of pictures"
    else:
        pictures = [dead_leaves(arguments.size, random_state=seed) for seed in range(arguments.n_leaves)]
        content = f"{arguments.n_leaves} pictures of dead leaves, {arguments.size} x {arguments.size}"
    pictures = [picture.astype(np.float32) / 255 for picture in pictures]
    sides = list(all_sides())
    curves = Parallel(n_jobs=-1)(delayed(mean_harms)(pictures, *side) for side in sides)
    ladders = {ladder_name(*side): make_ladder(STRENGTHS, curve) for side, curve in zip(sides, curves, strict=True)}
    arguments.out.write_text(
        json.dumps(
            {
                "made by": "python benchmarks/calibrate_severity.py",
                "content": content,
                "version": patchdistill.__version__,
                "ladders": ladders,
            },
            indent=1,
        )
        + "\n"
    )
    for name, ladder in ladders.items():
        print(f"{name:24} level {ladder['level'][-1]:.2f} at strength {ladder['strength'][-1]:.2f}")


def all_sides():
    """Channels, sides and codecs."""
    for channel in FULL12:
        for side in "+-" if CHANNELS[channel].signed else "+":
            for codec in CODECS if channel == "blockiness" else ("dct",):
                yield channel, side, codec


def mean_harms(pictures, channel, side, codec):
    """Mean harm at each strength."""
    return np.mean([harms_of(picture, channel, side, codec) for picture in pictures], axis=0)


def harms_of(picture, channel, side, codec, strengths=STRENGTHS):
    """Harm to one picture at each strength; every strength has the same noise."""
    sign = 1.0 if side == "+" else -1.0
    harms = []
    for strength in strengths:
        changed = operator_of(channel, codec)(picture, sign * strength, np.random.default_rng(0), "flat")
        harms.append(harm(np.clip(changed, 0, 1), picture) if strength else 0.0)
    return harms


if __name__ == "__main__":
    main()
