"""What pipelines cost, as bars."""

import numpy as np

from patchdistill._compat import import_optional


class ComputeDisplay:
    """Show what pipelines cost: one bar each, stacked by stage.

    Inference is hatched. Behind every bar stands its length, and its share of the longest one.

    Make it with :meth:`from_report`; the argument is stored as an attribute.

    Parameters
    ----------
    report : ComputeReport
        What :func:`patchdistill.models.compute_report` gave.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that was drawn on.
    figure_ : matplotlib Figure
        Figure of `ax_`.
    bars_ : dict of (str, str, str) to matplotlib Rectangle
        Piece of each pipeline, phase and stage.

    See Also
    --------
    patchdistill.models.compute_report : Measures the costs.

    Examples
    --------
    >>> from patchdistill.models.compute import ComputeReport, StageCost
    >>> from patchdistill.plotting import ComputeDisplay
    >>> report = ComputeReport((StageCost("kept", "training", "model", 2.0, None),))
    >>> ComputeDisplay.from_report(report).ax_.get_xlabel()
    'seconds'
    """

    def __init__(self, report):
        self.report = report

    @classmethod
    def from_report(cls, report, *, ax=None):
        """Draw a report.

        Parameters
        ----------
        report : ComputeReport
            What was measured.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        ComputeDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(report).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        ComputeDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = import_optional("matplotlib.pyplot", "ComputeDisplay", "viz")
        from matplotlib.patches import Patch

        variants = self.report.variants
        if ax is None:
            _, ax = pyplot.subplots(figsize=(9, 1.4 + 0.45 * len(variants)), layout="constrained")
        # In the order of the pipeline that has most of them: others may leave out what comes first there.
        per_variant = [[cost.stage for cost in self.report.stages if cost.variant == variant] for variant in variants]
        stages = list(dict.fromkeys(stage for stages in sorted(per_variant, key=len, reverse=True) for stage in stages))
        colors = dict(zip(stages, pyplot.get_cmap("viridis")(np.linspace(0.15, 0.95, len(stages))), strict=True))
        ends = dict.fromkeys(variants, 0.0)
        self.bars_ = {}
        for cost in self.report.stages:
            (piece,) = ax.barh(
                cost.variant,
                cost.seconds,
                left=ends[cost.variant],
                color=colors[cost.stage],
                hatch="///" if cost.phase == "inference" else None,
                edgecolor="white",
                linewidth=0.5,
            )
            self.bars_[cost.variant, cost.phase, cost.stage] = piece
            ends[cost.variant] += cost.seconds
        longest = max(ends.values())
        for variant, end in ends.items():
            ax.annotate(f" {end:.3g} s, {end / longest:.0%}", (end, variant), va="center")
        handles = [Patch(facecolor=colors[stage], label=stage) for stage in stages]
        handles.append(Patch(facecolor="0.7", hatch="///", edgecolor="white", label="inference"))
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=len(handles), frameon=False)
        ax.set(xlabel="seconds", xlim=(0, 1.25 * longest), ylim=(len(variants) - 0.5, -0.5))
        ax.spines[["top", "right"]].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
