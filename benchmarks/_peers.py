"""Patch selection by other packages: embeddings in, kept patches out. Each function imports its package when called."""

import importlib.metadata

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import LocalOutlierFactor


def kmedoids_fasterpam(E, k, seed):
    """k-medoids by FasterPAM."""
    import kmedoids

    return kmedoids.fasterpam(cdist(E, E), k, random_state=seed).medoids


def apricot_facility_location(E, k, seed):
    """Facility location, lazy greedy."""
    from apricot import FacilityLocationSelection

    return FacilityLocationSelection(k, metric="euclidean", random_state=seed).fit(E).ranking


def submodlib_facility_location(E, k, seed):
    """Facility location, lazy greedy, no random numbers."""
    from submodlib import FacilityLocationFunction

    function = FacilityLocationFunction(n=len(E), data=E, mode="dense", metric="euclidean")
    return [i for i, _ in function.maximize(budget=k, optimizer="LazyGreedy", show_progress=False)]


def skmatter_farthest_point(E, k, seed):
    """Farthest point sampling from a random start."""
    from skmatter.sample_selection import FPS

    return FPS(n_to_select=k, initialize="random", random_state=seed).fit(E).selected_idx_


def dppy_k_dpp(E, k, seed):
    """A sample of a k-DPP with a Gaussian kernel."""
    from dppy.finite_dpps import FiniteDPP

    squared = cdist(E, E, "sqeuclidean")
    likelihood = np.exp(-squared / (2 * np.median(squared)))
    return FiniteDPP("likelihood", L=likelihood).sample_exact_k_dpp(size=k, random_state=np.random.RandomState(seed))


def coreax_kernel_herding(E, k, seed):
    """Kernel herding with a Gaussian kernel of median length scale, no random numbers."""
    import coreax
    from coreax.kernels import SquaredExponentialKernel, median_heuristic
    from coreax.solvers import KernelHerding

    E = E.astype(np.float32)
    kernel = SquaredExponentialKernel(length_scale=float(median_heuristic(E)))
    return np.asarray(KernelHerding(coreset_size=k, kernel=kernel).reduce(coreax.Data(E))[0].unweighted_indices)


def sklearn_local_outlier_factor(E, k, seed):
    """The patches with the lowest local outlier factors, no random numbers."""
    return np.argsort(-LocalOutlierFactor().fit(E).negative_outlier_factor_, kind="stable")[:k]


# The package each one needs, by its name on the package index.
PEERS = {
    kmedoids_fasterpam: "kmedoids",
    apricot_facility_location: "apricot-select",
    submodlib_facility_location: "submodlib-py",
    skmatter_farthest_point: "skmatter",
    dppy_k_dpp: "dppy",
    coreax_kernel_herding: "coreax",
    sklearn_local_outlier_factor: "scikit-learn",
}


def installed_peers():
    """Split the peers into those that are there, with their versions, and the names of the packages that are not."""
    there, missing = {}, []
    for function, package in PEERS.items():
        try:
            there[function] = f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    return there, missing
