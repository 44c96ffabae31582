"""What the published script computes, measured on real pictures: the figures of the mathematics page.

Every picture gives 180 patches by 2,048 features (random filters). The script's target, its iteration at its own
absolute penalties, and its Mahalanobis distances are set against what they are meant to be.
"""

import numpy as np
from _common import RandomFilters, arguments, real_pictures, write_results
from scipy.spatial.distance import cdist, pdist
from scipy.stats import spearmanr
from sklearn.utils import check_random_state

from patchdistill import ResidualProblem, solve
from patchdistill.sampling import GridSampler
from patchdistill.similarity import pairwise_distances
from patchdistill.solvers.published import published_target

H, PENALTY = 10, 0.1


def target_shares(E):
    """Shares of the trace of the script's affinity: of its own eigenvectors, and of the leading ones."""
    distances = cdist(E, E)
    eigenvalues = np.linalg.eigvalsh(np.exp(-(distances**2) / (2 * distances.mean())))
    return eigenvalues[:H].sum() / eigenvalues.sum(), eigenvalues[-H:].sum() / eigenvalues.sum()


def mahalanobis_correlation(E):
    """Correlation of the script's Mahalanobis distances with those of the shrunk covariance."""
    wrong = pdist(E, "mahalanobis", VI=np.cov(E, rowvar=False) + 1e-10 * np.eye(E.shape[1]))
    right = pairwise_distances(E, "mahalanobis")[np.triu_indices(len(E), 1)]
    return np.corrcoef(wrong, right)[0, 1]


def facts(E, with_mahalanobis):
    """All figures of one picture."""
    E = np.asarray(E, dtype=np.float64)
    problem = ResidualProblem(E, published_target(E, h=H), alpha=PENALTY, beta=PENALTY)
    exact = solve(problem)
    runs = [solve(problem, solver="published", random_state=seed) for seed in (0, 1)]
    rng = check_random_state(0)
    rng.random_sample((E.shape[1], H))
    start = np.linalg.norm(rng.random_sample((H, len(E))), axis=0)
    kept = [set(np.argsort(run.residual_norms)[: len(E) // 2]) for run in runs]
    smallest, leading = target_shares(E)
    found = {
        "n_iter": runs[0].n_iter,
        "objective": runs[0].objective,
        "minimum_at_most": exact.objective,
        "minimum_at_least": exact.objective - exact.dual_gap,
        "nonzero_rows_of_W": int(runs[0].W.any(axis=1).sum()),
        "nonzero_rows_of_W_exact": int(exact.W.any(axis=1).sum()),
        "spearman_of_R_with_its_start": spearmanr(runs[0].residual_norms, start).statistic,
        "shared_by_two_runs_at_half": len(kept[0] & kept[1]) / len(kept[0]),
        "trace_share_of_target": smallest,
        "trace_share_of_leading": leading,
    }
    if with_mahalanobis:
        found["mahalanobis_correlation"] = mahalanobis_correlation(E)
    return {name: float(value) for name, value in found.items()}


def main():
    options = arguments(__doc__).parse_args()
    pictures = real_pictures(2 if options.smoke else 8)
    encode = RandomFilters(64 if options.smoke else 2048)
    pools = GridSampler().fit_transform(list(pictures.values()))
    table = []
    for i, (name, pool) in enumerate(zip(pictures, pools, strict=True)):
        # The script's own Mahalanobis call takes minutes at 2,048 features: one picture.
        table.append({"picture": name, **facts(encode(pool), with_mahalanobis=i == 0)})
        print(table[-1], flush=True)
    names = [key for key in table[-1] if key != "picture"]
    ranges = {key: [min(row[key] for row in table), max(row[key] for row in table)] for key in names}
    write_results("bench_published", {"h": H, "penalty": PENALTY, "ranges": ranges, "table": table}, options.out)


if __name__ == "__main__":
    main()
