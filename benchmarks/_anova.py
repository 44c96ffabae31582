"""Which factors matter: analysis of variance of a balanced design, with effect sizes."""

import numpy as np
from scipy.stats import f as f_distribution


def anova(levels, values):
    """Main effects of the factors of a balanced design.

    Parameters
    ----------
    levels : dict of str to sequence of hashable
        Level of every factor for each observation; every combination of levels occurs equally often.
    values : array-like of shape (n_observations,)
        What was observed.

    Returns
    -------
    dict of str to dict
        For each factor: ``f``, ``p``, the partial effect size ``eta_squared`` (sum of squares of the factor over that
        plus the residual's), all None where there is no residual, and the mean of each level. What is left after all
        main effects is the residual.
    """
    values = np.asarray(values, dtype=float)
    total = values.mean()
    squares, freedoms, means = {}, {}, {}
    for factor, of_each in levels.items():
        names = list(dict.fromkeys(of_each))
        of_each = np.array([names.index(level) for level in of_each])
        means[factor] = [float(values[of_each == k].mean()) for k in range(len(names))]
        squares[factor] = sum(np.sum(of_each == k) * (mean - total) ** 2 for k, mean in enumerate(means[factor]))
        freedoms[factor] = len(names) - 1
        means[factor] = dict(zip(map(str, names), means[factor], strict=True))
    residual = np.sum((values - total) ** 2) - sum(squares.values())
    freedom = len(values) - 1 - sum(freedoms.values())
    table = {}
    for factor, square in squares.items():
        table[factor] = {"f": None, "p": None, "eta_squared": None, "means": means[factor]}
        if residual > 1e-12 * np.sum(values**2):  # else nothing varies but what the factors explain
            ratio = (square / freedoms[factor]) / (residual / freedom)
            table[factor] |= {
                "f": float(ratio),
                "p": float(f_distribution.sf(ratio, freedoms[factor], freedom)),
                "eta_squared": float(square / (square + residual)),
            }
    return table
