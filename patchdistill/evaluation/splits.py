"""Splits into training and test by scene: versions of one scene never come to lie on both sides."""

import numbers
from abc import abstractmethod

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length, check_random_state

from patchdistill._compat import Interval, validate_parameter_constraints

# What tables hold where there is nothing, as text.
_MISSING = ("", "None", "nan", "NaT", "<NA>")


def check_scenes(groups):
    """Check the scenes of images.

    Parameters
    ----------
    groups : array-like of shape (n_images,)
        Scene of each image, all strings or all ints.

    Returns
    -------
    ndarray of shape (n_images,)
        The same as an array.

    Raises
    ------
    ValueError
        If there is not one scene for each image, or they are of several types.

    Examples
    --------
    >>> from patchdistill.evaluation.splits import check_scenes
    >>> check_scenes(["sea", "sea", "sky"])
    array(['sea', 'sea', 'sky'], dtype='<U3')
    """
    if groups is None:
        raise ValueError(
            "groups is None, but the scene of each image is needed, so that no scene is split; pass the column of the "
            "reference pictures, or one name per image where each shows a scene of its own."
        )
    if np.ndim(groups) != 1:
        raise ValueError(f"groups has shape {np.shape(groups)}, but one scene per image is needed; pass a sequence.")
    names = [name.item() if isinstance(name, np.generic) else name for name in np.asarray(groups, dtype=object)]
    missing = [i for i, name in enumerate(names) if str(name) in _MISSING]
    if missing:
        raise ValueError(
            f"Image {missing[0]} has no scene (groups holds {names[missing[0]]!r}); there are {len(missing)} like it. "
            "Give each a name: its own, if it shows a scene of its own."
        )
    kinds = {type(name).__name__ for name in names}
    if len(kinds) > 1:
        raise ValueError(f"Scenes are of several types ({', '.join(sorted(kinds))}); make all of them strings.")
    return np.array(names)


def check_split(train, test, groups):
    """Refuse a split that has a scene on both sides.

    A model that has seen one version of a scene knows the scene: its figures on the other versions are too good.

    Parameters
    ----------
    train, test : array-like of int or bool
        Images of either side: indices, or masks of shape (n_images,).
    groups : array-like of shape (n_images,)
        Scene of each image.

    Raises
    ------
    ValueError
        If a scene is on both sides, and as ``check_scenes``.

    Examples
    --------
    >>> from patchdistill.evaluation import check_split
    >>> check_split([0, 1], [2, 3], ["sea", "sea", "sky", "sky"])
    >>> check_split([0, 2], [1, 3], ["sea", "sea", "sky", "sky"])
    Traceback (most recent call last):
        ...
    ValueError: 2 scenes are on both sides of the split, such as 'sea' (1 for training, 1 for testing)...
    """
    scenes = check_scenes(groups)
    of_train, of_test = scenes[np.asarray(train)], scenes[np.asarray(test)]
    both = np.intersect1d(of_train, of_test)
    if len(both):
        name = both[0]
        raise ValueError(
            f"{len(both)} scenes are on both sides of the split, such as {name.item()!r} ({np.sum(of_train == name)} "
            f"for training, {np.sum(of_test == name)} for testing). Split by scene, with SceneShuffleSplit, SceneKFold "
            "or LeaveOneSceneOut."
        )


class _SceneSplitter(BaseCrossValidator):
    """Splitter that draws whole scenes, from their sorted names: the order of the images does not matter."""

    __metadata_request__split = {"groups": True}
    _parameter_constraints = {}

    def split(self, X=None, y=None, groups=None):
        """Split images.

        Parameters
        ----------
        X, y : array-like with n_images items, default=None
            Images and opinion scores; only their number is read.
        groups : array-like of shape (n_images,)
            Scene of each image; required.

        Yields
        ------
        train, test : ndarray of int
            Images of either side, ascending.

        Raises
        ------
        ValueError
            If `groups` does not name a scene for each image, or there are too few scenes.
        """
        parameters = {name: getattr(self, name) for name in self._parameter_constraints}
        validate_parameter_constraints(self._parameter_constraints, parameters, caller_name=type(self).__name__)
        scenes = check_scenes(groups)
        check_consistent_length(X, y, scenes)
        names, of_images = np.unique(scenes, return_inverse=True)
        if len(names) < 2:
            raise ValueError(
                f"All {len(scenes)} images show the scene {names[0].item()!r}, but a split needs at least two scenes; "
                "add images of others."
            )
        for test_scenes in self._draw(len(names)):
            in_test = np.isin(of_images, test_scenes)
            yield np.flatnonzero(~in_test), np.flatnonzero(in_test)

    def get_n_splits(self, X=None, y=None, groups=None):
        """Get the number of splits.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored.

        Returns
        -------
        int
            `n_splits`.
        """
        return self.n_splits

    @abstractmethod
    def _draw(self, n_scenes):
        """Draw the indices of the scenes for testing, split after split."""


class SceneShuffleSplit(_SceneSplitter):
    """Random splits by scene, repeated: the usual protocol of 80 % of the scenes for training.

    Parameters
    ----------
    n_splits : int, default=10
        Number of splits.
    test_size : float or int, default=0.2
        Share of the scenes for testing, rounded to the nearest number (3 of 16, 3 of 15), or their number; at least
        one scene is on either side.
    random_state : int, RandomState instance or None, default=0
        Which scenes are drawn. The same int gives the same splits of the same scenes, whatever the order of images.

    See Also
    --------
    SceneKFold : Every scene is tested on once.
    check_split : Refuse a split made elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import SceneShuffleSplit
    >>> scenes = np.repeat(["cafe", "sea", "sky", "wood", "yard"], 3)
    >>> for train, test in SceneShuffleSplit(n_splits=2).split(groups=scenes):
    ...     print(np.unique(scenes[test]), len(train), len(test))
    ['sky'] 12 3
    ['cafe'] 12 3
    """

    _parameter_constraints = {
        "n_splits": [Interval(numbers.Integral, 1, None, closed="left")],
        "test_size": [
            Interval(numbers.Real, 0, 1, closed="neither"),
            Interval(numbers.Integral, 1, None, closed="left"),
        ],
        "random_state": ["random_state"],
    }

    def __init__(self, n_splits=10, test_size=0.2, random_state=0):
        self.n_splits = n_splits
        self.test_size = test_size
        self.random_state = random_state

    def _draw(self, n_scenes):
        n_test = self.test_size
        if not isinstance(n_test, numbers.Integral):
            half_up = int(np.floor(n_test * n_scenes + 0.5 + 1e-9))  # 0.29 * 50 is 14.499..., and not 14.5
            n_test = min(max(1, half_up), n_scenes - 1)
        if n_test >= n_scenes:
            raise ValueError(
                f"test_size={n_test} leaves none of the {n_scenes} scenes for training; use at most {n_scenes - 1}, or "
                "a share such as 0.2."
            )
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            yield rng.permutation(n_scenes)[:n_test]


class SceneKFold(_SceneSplitter):
    """Folds of whole scenes: every image is tested on once.

    Folds differ by at most one scene; the larger ones come first.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the number of scenes.
    shuffle : bool, default=True
        Whether scenes are shuffled, or go into the folds in the order of their names.
    random_state : int, RandomState instance or None, default=0
        How they are shuffled; not read otherwise.

    See Also
    --------
    SceneShuffleSplit : Random splits.
    LeaveOneSceneOut : As many folds as scenes.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import SceneKFold
    >>> scenes = np.repeat(["cafe", "sea", "sky", "wood", "yard"], 3)
    >>> for train, test in SceneKFold(n_splits=2, shuffle=False).split(groups=scenes):
    ...     print(np.unique(scenes[test]))
    ['cafe' 'sea' 'sky']
    ['wood' 'yard']
    """

    _parameter_constraints = {
        "n_splits": [Interval(numbers.Integral, 2, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(self, n_splits=5, shuffle=True, random_state=0):
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def _draw(self, n_scenes):
        if self.n_splits > n_scenes:
            raise ValueError(
                f"n_splits={self.n_splits} is more than the {n_scenes} scenes; use at most {n_scenes}, which leaves "
                "one scene out at a time."
            )
        order = check_random_state(self.random_state).permutation(n_scenes) if self.shuffle else np.arange(n_scenes)
        return np.array_split(order, self.n_splits)


class LeaveOneSceneOut(_SceneSplitter):
    """Test on one scene at a time, in the order of their names.

    See Also
    --------
    SceneKFold : Fewer folds.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import LeaveOneSceneOut
    >>> [test.tolist() for _, test in LeaveOneSceneOut().split(groups=["sky", "sea", "sky"])]
    [[1], [0, 2]]
    """

    def get_n_splits(self, X=None, y=None, groups=None):
        """Get the number of scenes.

        Parameters
        ----------
        X, y : object, default=None
            Ignored.
        groups : array-like of shape (n_images,)
            Scene of each image; required.

        Returns
        -------
        int
            How many different ones there are.
        """
        return len(np.unique(check_scenes(groups)))

    def _draw(self, n_scenes):
        return np.arange(n_scenes)[:, None]


class ImageShuffleSplit(SceneShuffleSplit):
    """Random splits by image, for photographs that show a scene each; refused where images share a scene.

    Parameters
    ----------
    n_splits, test_size, random_state
        As for :class:`SceneShuffleSplit`, with images for scenes.
    force : bool, default=False
        Split even where images share a scene, to show how much too good the figures become. The same splits need the
        same order of images then.

    See Also
    --------
    SceneShuffleSplit : What to use where images share a scene.

    Examples
    --------
    >>> from patchdistill.evaluation import ImageShuffleSplit
    >>> next(ImageShuffleSplit().split(groups=["sea", "sea", "sky", "sky", "sky"]))
    Traceback (most recent call last):
        ...
    ValueError: The scene 'sky' has 3 images, and a split by image puts versions of one scene on both sides...
    """

    _parameter_constraints = {**SceneShuffleSplit._parameter_constraints, "force": ["boolean"]}

    def __init__(self, n_splits=10, test_size=0.2, random_state=0, force=False):
        super().__init__(n_splits, test_size, random_state)
        self.force = force

    def split(self, X=None, y=None, groups=None):
        """Split images.

        Parameters
        ----------
        X, y : array-like with n_images items, default=None
            Images and opinion scores; only their number is read.
        groups : array-like of shape (n_images,)
            Scene of each image; required.

        Yields
        ------
        train, test : ndarray of int
            Images of either side, ascending.

        Raises
        ------
        ValueError
            If images share a scene, without `force`; and as :class:`SceneShuffleSplit`.
        """
        scenes = check_scenes(groups)
        names, counts = np.unique(scenes, return_counts=True)
        if counts.max() > 1:
            if not self.force:
                raise ValueError(
                    f"The scene {names[counts.argmax()].item()!r} has {counts.max()} images, and a split by image puts "
                    "versions of one scene on both sides: the model has seen what it is tested on, and the figures are "
                    "too good. Use SceneShuffleSplit, or force=True to show how much."
                )
            scenes = np.arange(len(scenes))
        yield from super().split(X, y, scenes)
