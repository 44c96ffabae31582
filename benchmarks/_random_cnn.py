"""A convolutional network that was never trained, as an encoder that has seen no quality label and no picture."""

import numpy as np

from patchdistill._threads import single_blas_thread

CHANNELS = (64, 128, 256)

# Mean and standard deviation of the color values of photographs, roughly, in shares of the full range.
_MEAN, _STD = 0.45, 0.25

# Added before the logarithm: activations below it are as good as none.
_SMALLEST = 0.01

# Patches are worked on in groups of about this many pixels, so that their windows stay small in memory.
_GROUP_PIXELS = 2**16


class RandomCNN:
    """Three layers of 3 x 3 convolutions of stride 2 with random weights; features are logarithms of mean activations.

    Weights are normal with variance 2 / fan-in (He et al.), so that all layers are about equally strong. There is no
    bias and no padding: with layers l = 1, 2, 3, x_l = max(0, W_l * x_(l-1)), a patch is described by the logarithms
    of the spatial means of x_1, x_2 and x_3. The filters of the first layer have mean zero in each color: they see
    detail instead of brightness. Without that, and without the logarithm, what a picture shows drowns what was done to
    it, and a quality model on these features knows next to nothing.

    Parameters
    ----------
    seed : int, default=0
        Of the weights.
    channels : tuple of int, default=(64, 128, 256)
        Filters of each layer.

    Attributes
    ----------
    weights : list of ndarray of float32, shape (9 * channels_in, channels_out)
        Filters of each layer; the rows go through the window row by row, channels fastest.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on
       ImageNet Classification", ICCV 2015.
    """

    def __init__(self, seed=0, channels=CHANNELS):
        rng = np.random.default_rng(seed)
        fan_in = [9 * n for n in (3, *channels[:-1])]
        shapes = zip(fan_in, channels, strict=True)
        self.weights = [rng.normal(0, np.sqrt(2 / n), (n, m)).astype(np.float32) for n, m in shapes]
        by_color = self.weights[0].reshape(9, 3, -1)
        by_color -= by_color.mean(axis=0)

    def __call__(self, patches):
        """Describe patches.

        Parameters
        ----------
        patches : ndarray of uint8, shape (n_patches, height, width, 3)
            Pixels, at least 15 x 15.

        Returns
        -------
        ndarray of float32, shape (n_patches, sum of channels)
            Features.
        """
        step = max(1, _GROUP_PIXELS // (patches.shape[1] * patches.shape[2]))
        # With one thread the sums are added in the same order everywhere, and workers do not fight for the cores.
        with single_blas_thread():
            return np.concatenate([self._describe(patches[i : i + step]) for i in range(0, len(patches), step)])

    def _describe(self, patches):
        x = (patches.astype(np.float32) / np.float32(255) - np.float32(_MEAN)) / np.float32(_STD)
        means = []
        for weights in self.weights:
            x = np.maximum(_windows(x) @ weights, 0)
            means.append(x.mean(axis=(1, 2)))
        return np.log(np.concatenate(means, axis=1) + np.float32(_SMALLEST))


def _windows(x):
    """All 3 x 3 windows at stride 2, as rows: the convolution becomes a product of matrices."""
    rows, columns = ((side - 3) // 2 + 1 for side in x.shape[1:3])
    parts = [x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2] for i in range(3) for j in range(3)]
    return np.concatenate(parts, axis=-1)
