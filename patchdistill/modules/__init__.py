"""Networks, whoever made them: run them, look inside them, give them pixels, load their weights.

Needs PyTorch; whoever imports from here asks for it first, see :func:`patchdistill._compat.import_optional`.
"""
