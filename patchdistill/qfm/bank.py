"""What were the statistics of an image's partners when they were last seen."""

import torch
from torch import nn


class StatisticsBank(nn.Module):
    """Remember, for every training image, its statistics and its hidden vector when it was last seen.

    The partners of an image are rarely in its batch. They are matched once, before training, by labels, groups and
    descriptors that do not change; what their features look like does change, and is remembered here.

    Parameters
    ----------
    partners : array-like of int, shape (n_images, k)
        Images of like quality, as :func:`patchdistill.qfm.match_pairs` gives them; -1 where there are fewer.
    negatives : array-like of int, shape (n_images, m), or None
        Images of like semantics and other quality, in the same form; None is none.
    width : int
        Number of channels.

    Attributes
    ----------
    mean, std, hidden : Tensor of shape (n_images, width)
        What is remembered; zeros before an image is seen.
    filled : Tensor of bool, shape (n_images,)
        Which images have been seen.

    Raises
    ------
    ValueError
        If a table is not of that form.

    See Also
    --------
    patchdistill.qfm.perturbation.perturb : What is done with the statistics.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.bank import StatisticsBank
    >>> bank = StatisticsBank(partners=[[1], [0], [-1]], negatives=None, width=2)
    >>> bank.update(torch.tensor([1]), mean=torch.ones(1, 2), std=torch.ones(1, 2), hidden=torch.ones(1, 2))
    >>> mean, std, valid = bank.partners_of(torch.tensor([0, 1, 2]))
    >>> mean.shape, valid.flatten()
    (torch.Size([3, 1, 2]), tensor([ True, False, False]))
    """

    def __init__(self, partners, negatives, width):
        super().__init__()
        partners = _check_table(partners, "partners", n_images=len(partners))
        negatives = partners[:, :0] if negatives is None else _check_table(negatives, "negatives", len(partners))
        # The tables follow from the data; a checkpoint holds what training alone can tell.
        self.register_buffer("partners", partners, persistent=False)
        self.register_buffer("negatives", negatives, persistent=False)
        for name in ("mean", "std", "hidden"):
            self.register_buffer(name, torch.zeros(len(partners), width))
        self.register_buffer("filled", torch.zeros(len(partners), dtype=torch.bool))

    @torch.no_grad()
    def update(self, images, mean, std, hidden):
        """Remember images as they are now.

        Parameters
        ----------
        images : Tensor of int64, shape (batch_size,)
            Which images; of several patches of an image the last one counts.
        mean, std, hidden : Tensor of shape (batch_size, width)
            Their statistics and hidden vectors, without gradients.
        """
        # Assigning to one row twice has no defined result in PyTorch.
        is_last = ~(images[:, None] == images).triu(1).any(dim=1)
        rows = images[is_last]
        for memory, new in ((self.mean, mean), (self.std, std), (self.hidden, hidden)):
            memory[rows] = new[is_last].to(memory.dtype)
        self.filled[rows] = True

    def partners_of(self, images):
        """Statistics of the partners of images.

        Parameters
        ----------
        images : Tensor of int64, shape (batch_size,)
            Which images.

        Returns
        -------
        mean, std : Tensor of shape (batch_size, k, width)
            Statistics of the partners.
        valid : Tensor of bool, shape (batch_size, k)
            Where there is a partner, and it has been seen.
        """
        rows = self.partners[images]
        return self.mean[rows], self.std[rows], self._is_seen(rows)

    def hidden_of(self, images, which):
        """Hidden vectors for the contrast.

        Parameters
        ----------
        images : Tensor of int64, shape (batch_size,)
            Which images.
        which : {"partners", "negatives"}
            Those of their partners, which are the positives, or of their negatives.

        Returns
        -------
        hidden : Tensor of shape (batch_size, k or m, width)
            The vectors.
        valid : Tensor of bool, shape (batch_size, k or m)
            Where there is such an image, and it has been seen.

        Raises
        ------
        ValueError
            If `which` is another one.
        """
        tables = {"partners": self.partners, "negatives": self.negatives}
        if which not in tables:
            raise ValueError(f"which={which!r} is not kept; ask for one of {list(tables)}.")
        rows = tables[which][images]
        return self.hidden[rows], self._is_seen(rows)

    def _is_seen(self, rows):
        return (rows >= 0) & self.filled[rows]  # -1 reads the last row, which counts for nothing


def _check_table(table, name, n_images):
    table = torch.as_tensor(table)
    if table.ndim != 2 or len(table) != n_images or table.is_floating_point() or table.dtype == torch.bool:
        raise ValueError(
            f"{name} has shape {tuple(table.shape)} and dtype {table.dtype}, but one row of integers for each of the "
            f"{n_images} images is needed; match_pairs(y, semantics, groups) makes it."
        )
    wrong = table[(table < -1) | (table >= n_images)]
    if len(wrong):
        raise ValueError(
            f"{name} names image {int(wrong[0])}, but there are {n_images}: 0 to {n_images - 1}, and -1 where there is "
            "no such image."
        )
    return table.long()
