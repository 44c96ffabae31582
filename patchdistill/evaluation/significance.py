"""Which differences are more than chance: two models over seeds, and the factors of a study."""

import itertools
import warnings

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import rankdata, wilcoxon
from scipy.stats import t as t_distribution
from sklearn.exceptions import UndefinedMetricWarning

from patchdistill.evaluation.mapping import _check_scores

# Relative to the largest value: differences below count as none.
_DECIMALS = 12


def wilcoxon_over_seeds(a, b):
    """Wilcoxon signed-rank test of two models on the same splits, with its effect size.

    Pairs without a difference are left out, as Wilcoxon did; equal differences have their mean rank. Splits of one
    data set overlap: the p-value tells whether a difference is more than the luck of the seeds on this data set, not
    whether it would hold on another one.

    Parameters
    ----------
    a, b : array-like of shape (n_seeds,)
        A figure such as SRCC of either model, seed by seed on the same splits.

    Returns
    -------
    dict
        ``statistic``, the smaller sum of ranks; ``p``, two-sided; ``median_difference`` of `a` less `b` over all
        pairs; ``rank_biserial``, the sum of ranks in favor of `a` less that of `b` over both, in [-1, 1]; ``n``,
        the pairs that differ; ``n_zero``, those that do not; ``n_tied``, those whose difference is as large as
        another's. Where no pair differs, ``p`` is 1 and ``rank_biserial`` 0.

    Raises
    ------
    ValueError
        If `a` and `b` are not finite numbers, one per seed.

    See Also
    --------
    scipy.stats.wilcoxon : Gives the p-value.
    grouped_bootstrap : Interval of the difference on one split.

    References
    ----------
    .. [1] F. Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics Bulletin 1(6), 1945.
    .. [2] D. S. Kerby, "The Simple Difference Formula: An Approach to Teaching Nonparametric Correlation",
       Comprehensive Psychology 3, 2014. Rank-biserial correlation.

    Examples
    --------
    >>> from patchdistill.evaluation import wilcoxon_over_seeds
    >>> found = wilcoxon_over_seeds([0.91, 0.93, 0.92, 0.95, 0.94], [0.90, 0.90, 0.94, 0.91, 0.89])
    >>> found["p"], round(found["rank_biserial"], 3)  # the ranks are 1, 3, -2, 4 and 5
    (0.1875, 0.733)
    """
    a, b = _check_scores(a, "a"), _check_scores(b, "b")
    if len(a) != len(b):
        raise ValueError(f"There are {len(a)} values of a, but {len(b)} of b; pass one of each per seed.")
    # Differences that are equal in theory must tie, and not be told apart by rounding.
    unit = max(np.abs(a).max(), np.abs(b).max()) or 1.0
    differences = np.round((a - b) / unit, _DECIMALS)
    nonzero = differences[differences != 0]
    ranks = rankdata(np.abs(nonzero))
    in_favor, against = ranks[nonzero > 0].sum(), ranks[nonzero < 0].sum()
    _, counts = np.unique(np.abs(nonzero), return_counts=True)
    return {
        "statistic": float(min(in_favor, against)),
        "p": float(wilcoxon(nonzero).pvalue) if len(nonzero) else 1.0,
        "median_difference": float(np.median(a - b)),
        "rank_biserial": float((in_favor - against) / (in_favor + against)) if len(nonzero) else 0.0,
        "n": len(nonzero),
        "n_zero": len(a) - len(nonzero),
        "n_tied": int(counts[counts > 1].sum()),
    }


def resampled_half_width(deviation, n_splits, overlap):
    r"""Compute half the width of a 95 % interval of a mean over splits of the same images.

    That of the corrected resampled t-test [1]_, :math:`t_{0.975, J - 1} s \sqrt{1 / J + n_{test} / n_{train}}`. Without
    the second term under the root an interval would shrink to nothing as splits are added, although no image is.

    Parameters
    ----------
    deviation : array-like
        Standard deviation s over the splits, with one degree of freedom less.
    n_splits : array-like of int
        Number J of splits, at least 1.
    overlap : array-like
        Images for testing over images for training; 0 where every split has images of its own.

    Returns
    -------
    ndarray or float
        Half the width.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.

    Examples
    --------
    >>> from patchdistill.evaluation.significance import resampled_half_width
    >>> [round(float(resampled_half_width(0.1, 20, overlap)), 3) for overlap in (0.0, 0.25)]
    [0.047, 0.115]
    """
    n = np.maximum(n_splits, 1)
    return t_distribution.ppf(0.975, np.maximum(n - 1, 1)) * deviation * np.sqrt(1 / n + overlap)


def anova(table, response, factors, *, block=None, interactions=False):
    """Analysis of variance of the factors of a study, with effect sizes.

    Sums of squares are of type II: what a term adds to all others that do not contain it. In a balanced design these
    are the usual ones; cells may also be missing or occur several times.

    Parameters
    ----------
    table : DataFrame or dict of str to sequence
        Columns of equal length, a row for each observation.
    response : str
        Column that was observed, finite numbers.
    factors : list of str
        Columns of levels. Levels that read the same as text are the same.
    block : str, default=None
        Column such as the seed or the scene, whose differences are taken out of the residual. It is in no interaction.
    interactions : bool, default=False
        Whether all interactions of two factors are looked at, too; otherwise they are part of the residual.

    Returns
    -------
    dict of str to dict
        For each factor, then interactions as ``"a:b"``, then the block: ``sum_of_squares``, ``df``, ``df_residual``,
        ``f``, ``p`` and the partial effect sizes ``eta_squared``, the sum of squares over that plus the residual's,
        and ``omega_squared``, the same without its bias, which may be below 0. For each factor also ``means``, the
        mean response of every level.

    Raises
    ------
    ValueError
        If a column is missing or of another length, the response is not finite, a factor has one level only, a term
        cannot be told from the others, or there are no more observations than coefficients.

    Warns
    -----
    UndefinedMetricWarning
        If nothing varies but what the terms explain: ``f``, ``p`` and effect sizes are None.

    References
    ----------
    .. [1] Ø. Langsrud, "ANOVA for Unbalanced Data: Use Type II Instead of Type III Sums of Squares", Statistics and
       Computing 13(2), 2003.
    .. [2] S. Olejnik, J. Algina, "Generalized Eta and Omega Squared Statistics: Measures of Effect Size for Some
       Common Research Designs", Psychological Methods 8(4), 2003.

    Examples
    --------
    >>> from patchdistill.evaluation import anova
    >>> table = {"h": [5, 5, 20, 20], "seed": [0, 1, 0, 1], "srcc": [0.80, 0.84, 0.90, 0.92]}
    >>> row = anova(table, "srcc", ["h"], block="seed")["h"]
    >>> round(row["f"], 3), round(row["eta_squared"], 3), {h: round(mean, 2) for h, mean in row["means"].items()}
    (81.0, 0.988, {'5': 0.82, '20': 0.91})
    """
    values = _check_scores(_column(table, response), response)
    blocks = [] if block is None else [block]
    levels = {name: _levels(table, name, len(values)) for name in (*factors, *blocks)}
    terms = [(name,) for name in factors]
    if interactions:
        terms += itertools.combinations(factors, 2)
    terms += [(name,) for name in blocks]
    fits = _LeastSquares(values, [_indicators([levels[name] for name in term]) for term in terms])
    residual, rank = fits(range(len(terms)))
    freedom = len(values) - 1 - rank
    if freedom < 1:
        raise ValueError(
            f"{len(values)} observations do not leave a residual after {1 + rank} coefficients; add observations, or "
            "leave interactions or factors out."
        )
    # Beyond rounding, or else nothing is left to compare with.
    varies = residual > 1e-24 * np.sum(values**2)
    if not varies:
        warnings.warn(
            f"f, p and effect sizes are undefined and set to None: the terms explain all of {response}. Pass repeated "
            "observations of the same levels, such as more seeds.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    found = {}
    for i, term in enumerate(terms):
        others = [j for j, other in enumerate(terms) if not set(term) <= set(other)]
        (without, rank_without), (within, rank_within) = fits(others), fits([*others, i])
        df = rank_within - rank_without
        if not df:
            raise ValueError(f"{':'.join(term)} cannot be told from the other terms, whose levels go with its own.")
        row = _row(max(without - within, 0.0), df, residual, freedom, len(values), varies)
        if len(term) == 1 and term[0] != block:
            of_each = levels[term[0]]
            row["means"] = {level: float(values[of_each == level].mean()) for level in dict.fromkeys(of_each.tolist())}
        found[":".join(term)] = row
    return found


def _column(table, name):
    try:
        return table[name]
    except KeyError:
        raise ValueError(f"The table has no column {name!r}; there are {', '.join(map(repr, table))}.") from None


def _levels(table, name, n_observations):
    """Levels of a factor as text."""
    levels = np.array([str(level) for level in _column(table, name)])
    if len(levels) != n_observations:
        raise ValueError(
            f"Column {name!r} has {len(levels)} rows, but the response has {n_observations}; pass one for each."
        )
    if len(np.unique(levels)) < 2:
        raise ValueError(f"{name!r} has the one level {levels[0].item()!r} only, which cannot be tested; leave it out.")
    return levels


def _indicators(factors):
    """One column for each combination of levels that occurs, 1 where it does."""
    _, cells = np.unique(np.column_stack(factors), axis=0, return_inverse=True)
    return np.equal.outer(cells.ravel(), np.arange(cells.max() + 1)).astype(np.float64)


class _LeastSquares:
    """Fits of some of the terms and a mean to the values.

    The triangular factor of all columns has their inner products and no more rows than columns.
    """

    def __init__(self, values, terms):
        columns = np.column_stack([*terms, values])
        self.factor = np.linalg.qr(columns - columns.mean(axis=0), mode="r")
        self.bounds = np.cumsum([0, *(term.shape[1] for term in terms)])

    def __call__(self, chosen):
        """Squared error of a fit, and how many coefficients it determines besides the mean."""
        columns = [j for i in chosen for j in range(self.bounds[i], self.bounds[i + 1])]
        design, values = self.factor[:, columns], self.factor[:, -1]
        if not columns:
            return np.sum(values**2), 0
        coefficients, _, rank, _ = np.linalg.lstsq(design, values, rcond=1e-10)
        return np.sum((values - design @ coefficients) ** 2), int(rank)


def _row(explained, df, residual, df_residual, n_observations, varies):
    row = {"sum_of_squares": float(explained), "df": df, "df_residual": df_residual}
    if not varies:
        return {**row, "f": None, "p": None, "eta_squared": None, "omega_squared": None}
    noise = residual / df_residual
    ratio = explained / df / noise
    return {
        **row,
        "f": float(ratio),
        "p": float(f_distribution.sf(ratio, df, df_residual)),
        "eta_squared": float(explained / (explained + residual)),
        "omega_squared": float((explained - df * noise) / (explained + (n_observations - df) * noise)),
    }
