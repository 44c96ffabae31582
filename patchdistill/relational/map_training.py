"""Train a network that makes maps, so that a run that was stopped ends as one that was not."""

import math
import numbers
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from patchdistill._compat import Interval, StrOptions, validate_parameter_constraints
from patchdistill.checkpoints import Checkpoint
from patchdistill.modules.devices import check_device
from patchdistill.modules.moments import join_parts, load_moments, named_moments, split_parts
from patchdistill.modules.running import place
from patchdistill.progress import Progress
from patchdistill.relational.map_losses import cocycle_loss, leakage_loss, map_loss, swap_loss, variation_loss

# Share of the steps in which the learning rate rises, and the largest norm of a gradient.
_RISE = 0.03
_LARGEST_GRADIENT = 1.0


def train_map(
    network,
    pairs,
    *,
    max_epochs=100,
    batch_size=32,
    lr=1e-3,
    weight_decay=0.01,
    ema=0.999,
    leakage=0.05,
    cocycle=0.1,
    variation=0.01,
    autocast=None,
    device=None,
    num_workers=0,
    checkpoint=None,
    random_state=0,
    verbose=0,
):
    """Train a RelationalMapNet.

    Each step encodes two versions and the clean picture of every item once, and compares them in all three ways. The
    learning rate rises over the first 3 % of the steps and falls along a cosine to 0.

    Parameters
    ----------
    network : RelationalMapNet
        What is trained, in place; it ends with the running mean of its weights.
    pairs : RelationalPairs or HeldPairs
        What is learned from.
    max_epochs : int, default=100
        Epochs.
    batch_size : int, default=32
        Items per step.
    lr, weight_decay : float, default=1e-3, 0.01
        Largest learning rate of AdamW, and its decay.
    ema : float, default=0.999
        Decay of the running mean of the weights per step, less in the first steps; in [0, 1).
    leakage, cocycle, variation : float, default=0.05, 0.1, 0.01
        Weights of the losses beside :func:`~patchdistill.relational.map_losses.map_loss`; at 0 one is not computed.
    autocast : {"bfloat16"} or None, default=None
        Type in which PyTorch computes where that is safe.
    device : str or torch.device, default=None
        Where; None is where the network is. The network stays there.
    num_workers : int, default=0
        Processes that make the items.
    checkpoint : str or path-like, default=None
        Folder in which the state is kept after each epoch. A run that finds one goes on from it, and ends with the same
        weights, on a CPU to the last bit.
    random_state : int, default=0
        Draws the order of held pairs, and which way pictures are turned.
    verbose : int, default=0
        At 1, a line of progress on the standard error.

    Returns
    -------
    list of dict
        Learning rate and mean losses of each epoch.

    Raises
    ------
    ValueError
        If a parameter is out of range, the pairs have other channels than the network, the device is not there, the
        checkpoint is that of another run, or the loss is not finite.

    Examples
    --------
    >>> from patchdistill.relational.map_training import train_map
    >>> from patchdistill.relational.network import RelationalMapNet
    >>> from patchdistill.relational.pairs import RelationalPairs
    >>> history = train_map(RelationalMapNet(width=16), RelationalPairs(crop=32, n=4), max_epochs=2, batch_size=2)
    >>> sorted(history[0])
    ['cocycle', 'leakage', 'loss', 'lr', 'map', 'variation']
    """
    of_recipe = {
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "ema": ema,
        "leakage": leakage,
        "cocycle": cocycle,
        "variation": variation,
        "autocast": autocast,
    }
    others = {"num_workers": num_workers, "random_state": random_state}
    validate_parameter_constraints(_CONSTRAINTS, {**of_recipe, **others}, "train_map")
    found, expected = pairs.settings["channels"], list(network.channel_names_)
    if found != expected:
        raise ValueError(f"The pairs have the channels {found}, but the network {expected}; make them agree.")
    if device is not None:
        network.to(check_device(device))
    recipe = MapRecipe(**of_recipe)
    if checkpoint is not None:
        settings = {**asdict(recipe), "random_state": random_state, "network": network.settings}
        checkpoint = Checkpoint(checkpoint, "map", {**settings, "pairs": pairs.settings})
    training = MapTraining(network, recipe, random_state)
    training.run(pairs, checkpoint, num_workers, quiet=not verbose)
    return training.history


# Versions that are compared, and the clean picture.
_PAIRS = (("a", "b"), ("b", "ref"), ("a", "ref"))

_WEIGHT = [Interval(numbers.Real, 0, None, closed="left")]
_CONSTRAINTS = {
    "max_epochs": [Interval(numbers.Integral, 1, None, closed="left")],
    "batch_size": [Interval(numbers.Integral, 1, None, closed="left")],
    "lr": [Interval(numbers.Real, 0, None, closed="neither")],
    "weight_decay": _WEIGHT,
    "ema": [Interval(numbers.Real, 0, 1, closed="left")],
    "leakage": _WEIGHT,
    "cocycle": _WEIGHT,
    "variation": _WEIGHT,
    "autocast": [StrOptions({"bfloat16"}), None],
    "num_workers": [Interval(numbers.Integral, 0, None, closed="left")],
    "random_state": [Interval(numbers.Integral, 0, None, closed="left")],
}


@dataclass(frozen=True)
class MapRecipe:
    """How a network is trained; see :func:`train_map` for the parameters."""

    max_epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    ema: float
    leakage: float
    cocycle: float
    variation: float
    autocast: str | None

    def lr_at(self, step, n_steps):
        """Learning rate of a step: rises along a line, then falls along a cosine."""
        rise = math.ceil(_RISE * n_steps)
        if step < rise:
            return self.lr * (step + 1) / rise
        return self.lr * (1 + math.cos(math.pi * (step - rise) / (n_steps - rise))) / 2

    def ema_at(self, step):
        """Decay of the running mean at a step: what the weights were at the beginning is soon forgotten."""
        return min(self.ema, (1 + step) / (10 + step))


class MapTraining:
    """A network in training.

    Parameters
    ----------
    network : RelationalMapNet
        What is trained, where it is.
    recipe : MapRecipe
        How.
    seed : int
        Decides, with the number of the epoch, all that is drawn in it.

    Attributes
    ----------
    history : list of dict
        Learning rate at the end and mean losses of each epoch so far.
    mean : dict of str to Tensor
        Running mean of the weights.
    """

    def __init__(self, network, recipe, seed):
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.history = []
        self.mean = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)

    def run(self, pairs, checkpoint=None, num_workers=0, quiet=True):
        """Train to the end, from where the checkpoint is.

        Parameters
        ----------
        pairs : RelationalPairs or HeldPairs
            What is learned from.
        checkpoint : Checkpoint, default=None
            Where the state is kept after each epoch.
        num_workers : int, default=0
            Processes that make the items.
        quiet : bool, default=True
            Whether there is no line of progress.
        """
        if checkpoint is not None:
            self.load(*checkpoint.load())
        n_steps = math.ceil(len(pairs) / self.recipe.batch_size)
        all_steps = n_steps * self.recipe.max_epochs
        progress = Progress("Training the map", all_steps, len(self.history) * n_steps, quiet, "steps")
        while len(self.history) < self.recipe.max_epochs:
            epoch = len(self.history)
            steps = range(epoch * n_steps, (epoch + 1) * n_steps)
            self.history.append(self._run_epoch(pairs, epoch, steps, all_steps, num_workers, progress))
            if checkpoint is not None:
                checkpoint.save(self.tensors(), self.history)
        self.network.load_state_dict(self.mean)
        progress.finish(f"{all_steps} steps, loss {self.history[-1]['loss']:.4g}")

    def tensors(self):
        """Give all numbers of the state by name.

        Returns
        -------
        dict of str to Tensor
            Weights, their running mean, and moments of the optimizer.
        """
        moments = named_moments(self.network, self.optimizer)
        return join_parts({"network": self.network.state_dict(), "mean": self.mean, "optimizer": moments})

    def load(self, tensors, history):
        """Take over the state of another run; an empty one changes nothing.

        Parameters
        ----------
        tensors : dict of str to Tensor
            Of :meth:`tensors`.
        history : list of dict
            Its history.
        """
        if not history:
            return
        parts = split_parts(tensors, ("network", "mean", "optimizer"))
        self.network.load_state_dict(parts["network"])
        load_moments(self.network, self.optimizer, parts["optimizer"])
        self.mean = {name: tensor.to(self.mean[name].device) for name, tensor in parts["mean"].items()}
        self.history = list(history)

    def _run_epoch(self, pairs, epoch, steps, all_steps, num_workers, progress):
        """Train on all pairs once; gives the row of the history."""
        draws = torch.Generator().manual_seed(_seed(self.seed, epoch))
        if hasattr(pairs, "set_epoch"):
            # Items are new and independent, and those beside each other share a picture: in order, it is made once.
            pairs.set_epoch(epoch)
            order = range(len(pairs))
        else:
            order = torch.randperm(len(pairs), generator=draws).tolist()
        turns = torch.randint(8, (len(steps),), generator=draws).tolist()
        loader = DataLoader(pairs, self.recipe.batch_size, sampler=order, num_workers=num_workers, generator=draws)
        self.network.train()
        sums = {}
        for step, turn, items in zip(steps, turns, loader, strict=True):
            lr = self.recipe.lr_at(step, all_steps)
            for name, loss in self._step(items, turn, step, lr).items():
                sums[name] = sums.get(name, 0.0) + loss * len(items["valid"])
            progress.step()
        return {"lr": lr, **{name: total / len(pairs) for name, total in sums.items()}}

    def _step(self, items, turn, step, lr):
        """Train on one batch; gives its losses."""
        device, _ = place(self.network)
        items = {name: turned(tensor.to(device), turn) for name, tensor in items.items()}
        names = _PAIRS if self.network.antisymmetric else (*_PAIRS, ("b", "a"))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.recipe.autocast is not None):
            encoded = {name: self.network.encode(items[name]) for name in ("a", "b", "ref")}
            maps = {pair: self.network.difference(*(encoded[name] for name in pair)).float() for pair in names}
        losses = self._losses(maps, items)
        shares = {"map": 1.0, "swap": 1.0, **asdict(self.recipe)}
        loss = sum(shares[name] * value for name, value in losses.items())
        if not torch.isfinite(loss):
            raise ValueError(f"The loss of step {step + 1} is {loss.item()}; lower lr ({self.recipe.lr}).")
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        self.optimizer.step()
        decay = self.recipe.ema_at(step)
        for name, weights in self.network.state_dict().items():
            self.mean[name].lerp_(weights, 1 - decay)
        return {"loss": loss.item(), **{name: value.item() for name, value in losses.items()}}

    def _losses(self, maps, items):
        ab, bc, ac = (maps[pair] for pair in _PAIRS)
        found = torch.cat([ab, bc, ac])
        target = torch.cat([items["target"], items["target_ref"], items["target"] + items["target_ref"]])
        valid = items["valid"].repeat(3, 1, 1)
        losses = {"map": map_loss(found, target, valid)}
        if self.recipe.leakage:
            losses["leakage"] = leakage_loss(found, target, valid)
        if self.recipe.cocycle:
            losses["cocycle"] = cocycle_loss(ab, bc, ac)
        if self.recipe.variation:
            losses["variation"] = variation_loss(found)
        if not self.network.antisymmetric:
            losses["swap"] = swap_loss(ab, maps["b", "a"])
        return losses


def turned(x, turn):
    """Mirror and transpose maps or pictures.

    Parameters
    ----------
    x : Tensor of shape (..., side, side)
        What is turned.
    turn : int
        Which of the eight symmetries of the square, from 0; 0 leaves all as it is.

    Returns
    -------
    Tensor of shape (..., side, side)
        Cells stay cells, and labels stay true.
    """
    if turn & 1:
        x = x.flip(-1)
    if turn & 2:
        x = x.flip(-2)
    return x.transpose(-1, -2).contiguous() if turn & 4 else x


def _seed(*numbers_of_run):
    return int(np.random.SeedSequence(numbers_of_run).generate_state(1)[0])
