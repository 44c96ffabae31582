"""How exact and how fast are views of a panorama, by our own gathers and by other packages? One thread.

Exactness is measured where the truth is known: panoramas that are functions of the direction, evaluated exactly in
every pixel of the picture and of the views. All methods look in the same directions.
"""

import importlib.metadata

import numpy as np
from _common import arguments, seconds, write_results
from scipy import ndimage
from threadpoolctl import threadpool_limits

from patchdistill.panorama import tangent_views, to_pixels, to_sphere, to_vectors, view_directions

# Rows and columns that the other methods see beyond the borders; a spline's memory fades by a factor 4 a pixel.
_BORDER = 12


def smooth(vectors):
    """Three polynomials of x, y and z, of order 1."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack([0.5 + 0.3 * x - 0.2 * y * z, 0.4 + 0.3 * z**2 + 0.2 * x * y * z, 0.5 - 0.4 * y + 0.1 * z**3], -1)


def detailed(vectors):
    """Three waves across the sphere, in [0, 1]; their periods are 10 to 20 pixels of a picture 512 pixels wide."""
    return 0.5 + 0.5 * np.sin(vectors @ np.array([[30, 5, 0], [-10, 40, 8], [3, -20, 50]]).T)


def exact_panorama(function, height):
    row, column = np.indices((height, 2 * height))
    return function(to_vectors(*to_sphere(row, column, height, 2 * height)))


def directions(n_views):
    """Both poles, the seam, and a spiral over the rest."""
    lat = np.rad2deg(np.arcsin(np.linspace(-1, 1, n_views)))
    return 180 + 180 * (3 - np.sqrt(5)) * np.arange(n_views), lat


def continued(panorama):
    """The picture with what lies beyond its borders."""
    opposite = np.roll(panorama, panorama.shape[1] // 2, axis=1)
    whole = np.concatenate([opposite[:_BORDER][::-1], panorama, opposite[-_BORDER:][::-1]])
    return np.pad(whole, ((0, 0), (_BORDER, _BORDER), (0, 0)), mode="wrap")


def places(panorama, lon, lat, fov, size):
    """Rows and columns of the pixels of each view in the continued picture."""
    for view_lon, view_lat in zip(lon, lat, strict=True):
        row, column = to_pixels(*view_directions([view_lon], [view_lat], fov, size), *panorama.shape[:2])
        yield row[0] + _BORDER, column[0] + _BORDER


def by_scipy(panorama, lon, lat, fov, size, order):
    """Linear interpolation, or interpolating cubic splines of the whole picture."""
    wide = np.moveaxis(continued(panorama), -1, 0)
    if order > 1:
        wide = [ndimage.spline_filter(channel, order, np.float32) for channel in wide]
    views = [
        np.stack([ndimage.map_coordinates(channel, place, np.float32, order, prefilter=False) for channel in wide], -1)
        for place in places(panorama, lon, lat, fov, size)
    ]
    return as_pixels(np.stack(views), panorama.dtype)


def as_pixels(views, dtype):
    return np.clip(np.rint(views), 0, 255).astype(dtype) if dtype == np.uint8 else views


def by_opencv(panorama, lon, lat, fov, size, flag):
    import cv2

    wide, flag = continued(panorama), getattr(cv2, flag)
    maps = places(panorama, lon, lat, fov, size)
    return np.stack([cv2.remap(wide, *(np.float32(c) for c in place[::-1]), flag) for place in maps])


def by_py360convert(panorama, lon, lat, fov, size, mode, opencv):
    """Its angle is that between the centers of the outermost pixels; it takes OpenCV wherever that is installed."""
    from py360convert import e2p, utils

    if opencv:
        import cv2  # noqa: F401
    else:
        utils.cv2 = None
        utils.EquirecSampler.from_perspective.cache_clear()
    inner = np.rad2deg(2 * np.arctan(np.tan(np.deg2rad(fov / 2)) * (size - 1) / size))
    lon = (lon + 180) % 360 - 180
    return np.stack([e2p(panorama, inner, *place, (size, size), mode=mode) for place in zip(lon, lat, strict=True)])


def methods():
    """Name, function and last arguments."""
    yield "patchdistill, bilinear", tangent_views, ("bilinear",)
    yield "patchdistill, bicubic", tangent_views, ("bicubic",)
    yield "scipy map_coordinates, linear", by_scipy, (1,)
    yield "scipy map_coordinates, cubic spline", by_scipy, (3,)
    yield "OpenCV remap, linear", by_opencv, ("INTER_LINEAR",)
    yield "OpenCV remap, cubic", by_opencv, ("INTER_CUBIC",)
    yield "py360convert with OpenCV, bilinear", by_py360convert, ("bilinear", True)
    yield "py360convert with OpenCV, bicubic", by_py360convert, ("bicubic", True)
    # The last one, since it takes OpenCV away. Bicubic, it would filter the whole picture for every view: minutes.
    yield "py360convert without OpenCV, bilinear", by_py360convert, ("bilinear", False)


def errors(render, extra, height, n_views, fov, size):
    """Mean and largest error in float32, and the mean one of 8 bits in gray levels (rounding alone makes 0.25)."""
    lon, lat = directions(n_views)
    truth = to_vectors(*view_directions(lon, lat, fov, size))
    report = {}
    for name, function in {"smooth": smooth, "detailed": detailed}.items():
        panorama = exact_panorama(function, height)
        exact = function(truth)
        error = np.abs(render(panorama.astype(np.float32), lon, lat, fov, size, *extra) - exact)
        levels = render(np.rint(255 * panorama).astype(np.uint8), lon, lat, fov, size, *extra)
        report[f"{name}, mean"], report[f"{name}, largest"] = float(error.mean()), float(error.max())
        report[f"{name}, 8 bits"] = float(np.abs(levels - 255 * exact).mean())
    return report


def main():
    options = arguments(__doc__).parse_args()
    height, n_views, size, fov, repeats = (32, 4, 8, 90, 1) if options.smoke else (2048, 180, 128, 90, 3)
    error_height = 32 if options.smoke else 256
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (height, 2 * height, 3), dtype=np.uint8)  # the time does not depend on the content
    lon, lat = directions(n_views)
    results, missing = {}, []
    with threadpool_limits(limits=1):
        one_opencv_thread()
        for name, render, extra in methods():
            try:
                report = errors(render, extra, error_height, min(n_views, 40), fov, size)
            except ImportError as error:
                missing.append(f"{name}: {error.name} is not installed")
                print(missing[-1])
                continue
            arguments_ = (picture, lon, lat, fov, size, *extra)
            results[name] = {"seconds": seconds(lambda r=render, a=arguments_: r(*a), repeats), "errors": report}
            print(f"{name:38} {results[name]['seconds']:7.3f} s  ", "  ".join(f"{e:.1e}" for e in report.values()))
    write_results(
        "bench_projection",
        {
            "timing": {"height": height, "n_views": n_views, "size": size, "fov": fov, "repeats": repeats},
            "errors": {"height": error_height, "n_views": min(n_views, 40), "size": size, "fov": fov},
            "compared_with": versions("opencv-python-headless", "py360convert"),
            "methods": results,
            "missing": missing,
        },
        options.out,
    )


def one_opencv_thread():
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(1)


def versions(*packages):
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


if __name__ == "__main__":
    main()
