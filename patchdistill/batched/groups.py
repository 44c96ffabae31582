"""Work on a few images of a batch at a time, so that copies of their embeddings stay in the caches of a CPU."""

import threading

# Bytes of one copy of the embeddings of a few images. Larger ones come fresh from the system every time, and that takes
# longer than what is computed with them.
_GROUP_BYTES = 8 * 2**20


class Memory(threading.local):
    """Memory for the largest tensor of a batch, used again for the next one; each thread has its own."""

    def __init__(self):
        self._flat = None

    def empty(self, like, n_images):
        """Give a tensor for `n_images` entries like those of another one; what it holds is of no use."""
        n_entries = n_images * like[0].numel()
        if self._flat is None or self._flat.numel() < n_entries or self._flat.dtype != like.dtype:
            self._flat = like.new_empty(n_entries)
        return self._flat[:n_entries].view(n_images, *like.shape[1:])


def in_groups(function, E, *others, memory=None):
    """Apply a function to a few images at a time: on a CPU, that is; a GPU works on all at once.

    Parameters
    ----------
    function : callable
        Maps tensors with one entry per image to a tuple of such tensors.
    E : Tensor of shape (n_images, n_patches, n_features)
        First argument of `function`, whose size tells how many images are a few.
    *others : Tensor of shape (n_images, ...), or None
        Further arguments.
    memory : Memory, default=None
        For the first of the results.

    Returns
    -------
    tuple of Tensor
        What `function` gives for all images.
    """
    n_images = len(E)
    size = n_images if E.is_cuda else max(1, _GROUP_BYTES // (8 * E[0].numel()))
    if size >= n_images:
        return function(E, *others)
    results = None
    for first in range(0, n_images, size):
        group = slice(first, first + size)
        parts = function(*(argument if argument is None else argument[group] for argument in (E, *others)))
        if results is None:
            results = [part.new_empty(n_images, *part.shape[1:]) for part in parts[1:]]
            results.insert(0, (memory or Memory()).empty(parts[0], n_images))
        for result, part in zip(results, parts, strict=True):
            result[group] = part
    return results
