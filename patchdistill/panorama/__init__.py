"""Pictures of the whole sphere: directions, and the flat views of a panorama."""

from patchdistill.panorama.placement import (
    crop_centers,
    crop_positions,
    cut_over_seam,
    fibonacci_directions,
    latitude_positions,
    random_directions,
)
from patchdistill.panorama.projection import cube_faces, tangent_views, view_directions
from patchdistill.panorama.sampling import FibonacciSampler, LatitudeSampler, RandomSampler, UniformSampler
from patchdistill.panorama.scanpaths import TrajectorySampler
from patchdistill.panorama.sphere import (
    angular_distance,
    solid_angles,
    to_degrees,
    to_pixels,
    to_sphere,
    to_vectors,
)
from patchdistill.panorama.trajectories import recursive_walk

__all__ = [
    "FibonacciSampler",
    "LatitudeSampler",
    "RandomSampler",
    "TrajectorySampler",
    "UniformSampler",
    "angular_distance",
    "crop_centers",
    "crop_positions",
    "cube_faces",
    "cut_over_seam",
    "fibonacci_directions",
    "latitude_positions",
    "random_directions",
    "recursive_walk",
    "solid_angles",
    "tangent_views",
    "to_degrees",
    "to_pixels",
    "to_sphere",
    "to_vectors",
    "view_directions",
]
