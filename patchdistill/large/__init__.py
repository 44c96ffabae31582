"""The selection of an image with too many patches for matrices of n x n: the same steps, in memory linear in n."""
