"""Figures of agreement as scorers of scikit-learn, to choose models and parameters by."""

from sklearn.metrics import make_scorer

from patchdistill.evaluation.correlation import krcc, plcc, rmse, srcc

# Predictions count as they are. A map would be fitted to the images held out, and would turn predictions that run
# against their opinion scores into good ones.
SCORERS = {
    "srcc": make_scorer(srcc),
    "plcc": make_scorer(plcc, mapping=None),
    "krcc": make_scorer(krcc),
    "neg_rmse": make_scorer(rmse, greater_is_better=False, mapping=None),
}
