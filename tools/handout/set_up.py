# Does nothing where nibkit is installed. Elsewhere, in Colab for example, it installs the wheel: run this cell first.
import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("nibkit") is None:
    beside = [path.resolve() for place in (".", "..") for path in Path(place).glob("nibkit-*.whl")]
    wheel = str(beside[0]) if beside else "ADDRESS"
    if not wheel:
        raise FileNotFoundError("upload WHEEL, so that it lies beside this notebook, and run this cell again")
    needs = [wheel, "captum", "scikit-image", "seaborn"]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *needs], check=True)
    importlib.invalidate_caches()
