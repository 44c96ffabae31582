"""How long does it take to embed one picture by natural-scene statistics? Median seconds, one BLAS thread."""

import numpy as np
from _common import arguments, seconds, write_results
from threadpoolctl import threadpool_limits

from patchdistill.embedding import PatchStatistics, patch_statistics
from patchdistill.sampling import cut_patches, grid_positions


def main():
    options = arguments(__doc__).parse_args()
    height, width, n_patches, size = (128, 256, 12, 32) if options.smoke else (640, 1280, 180, 64)
    repeats = 2 if options.smoke else 15
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)  # the time does not depend on the content
    grid = grid_positions(height, width, n_patches, size)
    anywhere = rng.integers(0, height - size, n_patches), rng.integers(0, width - size, n_patches)
    pool = cut_patches(picture, *grid, size)
    with threadpool_limits(limits=1, user_api="blas"):
        results = {
            "patches on a grid of a picture": seconds(lambda: patch_statistics(picture, *grid, size), repeats),
            "patches anywhere on a picture": seconds(lambda: patch_statistics(picture, *anywhere, size), repeats),
            "pool of patches": seconds(lambda: PatchStatistics().transform([pool]), repeats),
        }
    write_results(
        "bench_embedding",
        {
            "picture": {"height": height, "width": width},
            "n_patches": n_patches,
            "patch_size": size,
            "n_features": len(PatchStatistics().get_feature_names_out()),
            "repeats": repeats,
            "median_seconds": results,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
