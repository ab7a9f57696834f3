"""Python imports this by itself where this folder is on PYTHONPATH: with NIBKIT_PRETEND_CUDA=1 there is a CUDA device."""

import os
import sys
from pathlib import Path

if os.environ.get("NIBKIT_PRETEND_CUDA") == "1":
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    import pretend_cuda

    pretend_cuda.install()
