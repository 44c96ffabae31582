import subprocess
import sys

import numpy as np
import pytest

import patchdistill.embedding

PIXELS = np.zeros((2, 8, 8, 3), np.uint8)
MESSAGE = r'needs PyTorch. Install it with:\npip install "patchdistill\[torch\]"'


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


def test_importing_imports_no_pytorch():
    code = (
        "import sys, patchdistill.embedding as e; e.TorchEmbedder(len).get_params(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("cached", [False, True])
def test_an_embedder_says_what_to_install(no_torch, tmp_path, cached):
    embedder = patchdistill.embedding.TorchEmbedder(abs, cache=tmp_path if cached else None).fit()
    with pytest.raises(ImportError, match=f"TorchEmbedder {MESSAGE}"):
        embedder.transform([PIXELS])


def test_the_functions_say_what_to_install(no_torch):
    with pytest.raises(ImportError, match=f"TorchEmbedder {MESSAGE}"):
        patchdistill.embedding.embed_patches(PIXELS, abs)
    with pytest.raises(ImportError, match=f"patchdistill.embedding.load_weights {MESSAGE}"):
        patchdistill.embedding.load_weights  # noqa: B018


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="module 'patchdistill.embedding' has no attribute 'load_weight'"):
        patchdistill.embedding.load_weight  # noqa: B018
