"""Panoramas as codecs, lenses and sensors spoil them: six kinds, five levels each.

The levels are chosen so that each kind goes from a loss that is hardly seen to one that nobody would accept. Medians
over the 20 panoramas of the study, 2048 x 1024 pixels, of the similarity of structure (SSIM) and of one less the
deviation of the similarity of gradients (GMSD), both weighted by the sphere (ffmpeg 5.1, Pillow 13.0):

=========  ==============================  ==============================
Kind       SSIM, levels 1 to 5             1 - GMSD, levels 1 to 5
=========  ==============================  ==============================
JPEG       .978  .923  .860  .766  .657    .999  .988  .963  .889  .772
JPEG 2000  .981  .916  .828  .762  .696    .997  .978  .936  .882  .827
AVC        .984  .939  .851  .765  .697    .995  .979  .939  .880  .834
HEVC       .985  .945  .863  .770  .706    .996  .982  .944  .893  .851
blur       .983  .913  .826  .749  .669    .995  .974  .936  .876  .797
noise      .985  .916  .819  .721  .605    .998  .989  .973  .953  .924
=========  ==============================  ==============================

Scenes differ: SSIM at level 5 lies between .29 and .87. In each scene every level loses more than the one before, by
both measures.
"""

import subprocess
from functools import cache

import numpy as np
from PIL import features
from scipy import ndimage

from patchdistill.codecs import through_file

CLEAN = "clean"

# Strengths from mild to strong: quality of JPEG; compression ratio of JPEG 2000; quantizer of AVC and HEVC intra
# pictures; standard deviation of the Gaussian in pixels; standard deviation of the noise in gray levels of each color.
LEVELS = {
    "JPEG": (90, 50, 20, 8, 3),
    "JPEG 2000": (7, 20, 60, 160, 480),
    "AVC": (24, 32, 40, 46, 51),
    "HEVC": (24, 32, 40, 46, 51),
    "blur": (0.5, 0.8, 1.3, 2.2, 4.5),
    "noise": (2, 5, 8, 11, 15),
}

# Encoder of ffmpeg, name of its raw stream, and its own options. One thread, so that it gives the same everywhere.
_ENCODERS = {
    "AVC": ("libx264", "h264", ("-x264-params", "log-level=error")),
    "HEVC": ("libx265", "hevc", ("-x265-params", "pools=none:frame-threads=1:log-level=error")),
}
_SCALER = "bicubic+accurate_rnd+full_chroma_int+bitexact"


def distort(image, kind, level, seed=0):
    """Distort a panorama; what blurs goes on across the seam.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        The panorama; both sides even, for AVC and HEVC.
    kind : str
        One of LEVELS, or CLEAN, which changes nothing.
    level : int
        1, mild, to 5, strong.
    seed : int or sequence of int, default=0
        Of the noise.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The distorted panorama.

    Raises
    ------
    RuntimeError
        If ffmpeg fails.
    """
    if kind == CLEAN:
        return image
    strength = LEVELS[kind][level - 1]
    if kind not in ("blur", "noise"):
        return encode(image, kind, strength)
    if kind == "blur":
        changed = ndimage.gaussian_filter(image.astype(np.float32), strength, axes=(0, 1), mode=("reflect", "wrap"))
    else:
        changed = image + np.random.default_rng(seed).normal(0, strength, image.shape)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def encode(image, codec, strength):
    """Encode a picture and decode it again.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        The picture; both sides even, for AVC and HEVC.
    codec : {"JPEG", "JPEG 2000", "AVC", "HEVC"}
        How.
    strength : int
        Quality of JPEG; compression ratio of JPEG 2000; quantizer of AVC and HEVC intra pictures.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        What is left of it.

    Raises
    ------
    RuntimeError
        If ffmpeg fails.
    """
    if codec in _ENCODERS:
        return _through_ffmpeg(image, codec, strength)
    if codec == "JPEG":
        return through_file(image, "JPEG", quality=strength)
    return through_file(image, "JPEG2000", quality_mode="rates", quality_layers=[strength], irreversible=True)


@cache
def missing_kinds():
    """Name the kinds that cannot be made on this machine.

    Returns
    -------
    dict of str to str
        Kinds, and what they lack.
    """
    missing = {} if features.check("jpg_2000") else {"JPEG 2000": "Pillow was built without JPEG 2000"}
    try:
        known = _ffmpeg("-encoders").decode()
    except FileNotFoundError:
        return missing | dict.fromkeys(_ENCODERS, "the program ffmpeg is not installed")
    return missing | {
        kind: f"ffmpeg has no {name}" for kind, (name, *_) in _ENCODERS.items() if f" {name} " not in known
    }


def _through_ffmpeg(image, kind, quantizer):
    encoder, stream, options = _ENCODERS[kind]
    height, width = image.shape[:2]
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24")
    picture = (*raw, "-video_size", f"{width}x{height}", "-i", "-", "-frames:v", "1", "-sws_flags", _SCALER)
    codec = ("-pix_fmt", "yuv420p", "-c:v", encoder, "-qp", str(quantizer), "-threads", "1", *options)
    encoded = _ffmpeg(*picture, *codec, "-f", stream, "-", data=image.tobytes())
    decoded = _ffmpeg("-threads", "1", "-f", stream, "-i", "-", "-sws_flags", _SCALER, *raw, "-", data=encoded)
    return np.frombuffer(decoded, np.uint8).reshape(image.shape)


def _ffmpeg(*options, data=b""):
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", *options]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
