"""Many images, cut into batches that fit the memory."""

import numpy as np
import torch
from joblib import Parallel, delayed

from patchdistill.batched.checks import check_counts, check_finite
from patchdistill.batched.groups import Memory
from patchdistill.batched.images import embed, find_device, to_batch
from patchdistill.batched.pipeline import SELECT_PARAMETERS, select
from patchdistill.forms import own_weights
from patchdistill.ranking import Choice

# Images share a batch if the smallest has at least this share of the patches of the largest: padding is worked on too.
_FILL = 0.75

# Matrices of every image that are held at once, at most: float64 copies of the embeddings, and matrices of all pairs.
_N_EMBEDDINGS, _N_PAIRS = 5, 16

# Share of the free memory of a GPU that is used, and bytes on the CPU per copy of the embeddings and per matrix of all
# pairs: more images at once save calls, but leave the caches.
_FREE_SHARE = 0.6
_CPU_EMBEDDINGS, _CPU_PAIRS = 128 * 2**20, 12 * 2**20

# Entries of a tensor that 32 bits can count: what is larger is slow or unsafe in some libraries of GPUs.
_MOST_ENTRIES = 2**31 - 1


def images_per_batch(n_patches, n_features, device):
    """Count how many images are worked on at once.

    Parameters
    ----------
    n_patches, n_features : int
        Size of the largest image.
    device : torch.device
        Where.

    Returns
    -------
    int
        At least 1.
    """
    if device.type == "cpu":
        return max(1, min(_CPU_EMBEDDINGS // n_features, _CPU_PAIRS // n_patches) // (8 * n_patches))
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch's own, and unused
    bytes_per_image = 8 * n_patches * (_N_EMBEDDINGS * n_features + _N_PAIRS * n_patches)
    return max(1, min(int(_FREE_SHARE * free / bytes_per_image), _MOST_ENTRIES // (n_patches * n_features)))


def run_batches(batches, device, parameters):
    """Select the patches of batches that fit the memory.

    Parameters
    ----------
    batches : iterable of tuple
        Embeddings, numbers of patches and counts, as :func:`patchdistill.batched.pipeline.select` takes them.
    device : torch.device
        Where they are.
    parameters : dict
        Parameters of the selection, `n_jobs` and `verbose`. On the CPU every job is a thread that computes alone: on
        matrices as small as these, PyTorch's own threads mostly wait for each other.

    Returns
    -------
    list of BatchSelection
        Selection of each batch.
    """
    chosen, memory = {name: parameters[name] for name in SELECT_PARAMETERS}, Memory()
    on_cpu, n_threads = device.type == "cpu", torch.get_num_threads()

    def work(E, n_patches, counts):
        if on_cpu:
            torch.set_num_threads(1)
        return select(E, n_patches, counts, memory, **chosen)[0]

    workers = Parallel(n_jobs=parameters["n_jobs"] if on_cpu else 1, verbose=parameters["verbose"], require="sharedmem")
    try:
        return workers(delayed(work)(*batch) for batch in batches)
    finally:
        torch.set_num_threads(n_threads)


def select_images(images, embedding_of, parameters):
    """Select the patches of many images, batch by batch, the largest images first.

    Parameters
    ----------
    images : PatchBags or patchdistill.batched.images.TensorImages
        Images.
    embedding_of : callable
        Maps the patches of an image, and :func:`patchdistill.batched.images.embed`, to its embeddings.
    parameters : dict
        Those of :class:`patchdistill.ResidualPatchSelector`.

    Returns
    -------
    list of tuple
        For each image its :class:`patchdistill.ranking.Choice`, outliers, scores, objective, dual gap, steps, whether
        it converged, and the error of its target, which is none; arrays and numbers on the host.
    """
    device = find_device(parameters["device"], images[0])
    n_patches = images.n_patches
    embeddings = ((i, embedding_of(images[i], embed)) for i in np.argsort(-n_patches, kind="stable"))
    groups = []

    def batches():
        for places, parts in _batches(embeddings, device):
            groups.append(places)
            E = to_batch(parts, device)
            check_finite(E, places)
            sizes = torch.as_tensor(n_patches[places], device=device)
            counts = [own_weights(images, i) for i in places]
            counts = None if counts[0] is None else to_batch([c[:, None] for c in counts], device)[:, :, 0]
            yield E, sizes, check_counts(counts, sizes, E)

    results = [None] * len(n_patches)
    for places, selection in zip(groups, run_batches(batches(), device, parameters), strict=True):
        for i, result in zip(places, _per_image(selection, n_patches[places]), strict=True):
            results[i] = result
    return results


def _batches(embeddings, device):
    """Places and embeddings of images that go together; they come with the largest first."""
    places, parts, most = [], [], 0
    for i, E in embeddings:
        if parts and (len(parts) == most or len(E) < _FILL * len(parts[0])):
            yield places, parts
            places, parts = [], []
        if not parts:
            most = images_per_batch(*E.shape, device)
        places.append(i)
        parts.append(E)
    yield places, parts


def _per_image(selection, n_patches):
    """Results of each image, without padding, on the host."""
    found = {name: value.cpu().numpy() for name, value in vars(selection).items()}
    for i, n in enumerate(n_patches):
        k = found["n_kept"][i]
        choice = Choice(found["ranking"][i, :n], int(k), kept_weights=found["weights"][i, :k])
        outliers, scores = np.flatnonzero(found["outliers"][i]), found["scores"][i, :n]
        certificate = (found[name][i].item() for name in ("objective", "dual_gap", "n_iter", "converged"))
        yield choice, outliers, scores, *certificate, 0.0  # the target is that of the whole affinity
