"""Which of several models made the best pictures, and how sure that is."""

from dataclasses import dataclass

import numpy as np

from patchdistill.evaluation import grouped_bootstrap


@dataclass(frozen=True)
class CheckpointChoice:
    """The model with the highest mean score.

    Attributes
    ----------
    best, runner_up : str
        Names of the two models with the highest mean scores.
    mean_scores : dict of str to float
        Mean score of each model, best first.
    lead : dict
        Mean difference between the scores of the two on the same pictures: its ``value``, and the ends ``low`` and
        ``high`` of its interval over pictures drawn again.
    is_clear : bool
        Whether the interval lies above 0. Both were chosen by these very pictures, and with more models the best one
        is the luckier: where the lead is not clear, take it for a draw; where it just is, look at more pictures.
    """

    best: str
    runner_up: str
    mean_scores: dict
    lead: dict
    is_clear: bool


def choose_checkpoint(scores, *, n_resamples=1000, confidence=0.95, random_state=0):
    """Choose the model whose pictures score best.

    Parameters
    ----------
    scores : dict of str to array-like of shape (n_pictures,)
        For each model, or each checkpoint of one, the scores of what it made of the same pictures; higher is better.
    n_resamples : int, default=1000
        How many times pictures are drawn again.
    confidence : float, default=0.95
        Of the interval of the lead.
    random_state : int, RandomState instance or None, default=0
        Which pictures are drawn.

    Returns
    -------
    CheckpointChoice
        The best model, and whether its lead over the second is clear. Of equal ones the first is taken.

    Raises
    ------
    ValueError
        If there are fewer than two models or pictures, or not as many pictures of each model.

    See Also
    --------
    patchdistill.relational.RelationalScorer : The same from pictures.
    patchdistill.evaluation.grouped_bootstrap : The interval.

    Examples
    --------
    >>> from patchdistill.relational.checkpoints import choose_checkpoint
    >>> choice = choose_checkpoint({"epoch 10": [-0.4, -0.6, -0.5], "epoch 20": [-0.3, -0.4, -0.4]})
    >>> choice.best, choice.is_clear, round(choice.lead["value"], 3)
    ('epoch 20', True, 0.133)
    """
    lengths = {name: len(of_one) for name, of_one in scores.items()}
    if len(scores) < 2 or min(lengths.values()) < 2:
        raise ValueError(
            f"A choice and the interval of its lead need at least two models and two pictures of each; got {lengths}."
        )
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Every model needs a score for the same pictures; got {lengths}.")
    arrays = {name: np.asarray(of_one, dtype=np.float64) for name, of_one in scores.items()}
    means = {name: float(of_one.mean()) for name, of_one in arrays.items()}
    order = sorted(means, key=means.get, reverse=True)
    best, runner_up = order[:2]
    lead = grouped_bootstrap(
        lambda _, of_one: of_one.mean(),
        arrays[best],  # no opinions are needed
        arrays[best],
        np.arange(len(arrays[best])),
        other=arrays[runner_up],
        n_resamples=n_resamples,
        confidence=confidence,
        random_state=random_state,
    )
    return CheckpointChoice(best, runner_up, {name: means[name] for name in order}, lead, lead["low"] > 0)
