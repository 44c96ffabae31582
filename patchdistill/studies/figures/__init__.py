"""The figures of a study's report, each a function of tables that gives a matplotlib figure."""

from patchdistill.studies.figures.agreement import draw_differences, draw_h, draw_rates, draw_smallest_rates
from patchdistill.studies.figures.workings import draw_convergence, draw_costs, draw_effects, draw_examples

__all__ = [
    "draw_convergence",
    "draw_costs",
    "draw_differences",
    "draw_effects",
    "draw_examples",
    "draw_h",
    "draw_rates",
    "draw_smallest_rates",
]
