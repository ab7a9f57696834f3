"""A wheel holds all that the package needs: built, unpacked elsewhere, used from another folder, without the clone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HIDDEN = ("IPython", "ipywidgets", "seaborn", "skimage", "datasets", "dask", "distributed", "captum", "pytest")  # extras alone
CODE = f"""
import sys
sys.modules |= dict.fromkeys({HIDDEN})  # importing one of them fails, as where it is not installed
import numpy as np, nibkit as nk, pathlib
assert pathlib.Path(nk.__file__).is_relative_to(pathlib.Path.cwd() / "site"), nk.__file__
clip = nk.load_clip(device="cpu")
scene = nk.shapes.sample(1, seed=0)[0]
scene.image.save("scene.png")
attribution = nk.nib(clip, clip.prepare(scene.image, scene.caption))
assert np.isfinite(attribution.numpy()["image"]).all()
assert nk.paper.table(2).query("method == 'nib' and dataset == 'ImageNet' and metric == 'image_drop'")["value"].item() == .9012
assert len(nk.results("steps")) == 900
for name in nk.MODELS:
    nk.load_clip(name, device="cpu")
assert nk.emoji.sample(1, seed=2)[0].caption.startswith("a turtle")
nk.claim("IB.6", 0, 0)
nk.plots.explain(scene.image, attribution).savefig("map.png")
from nibkit.__main__ import main
assert main(["explain", "map.png", "a red circle", "--device", "cpu", "--out", "explained.png"]) == 0
print(nk.__version__)
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder with the wheel unpacked in ``site``."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("nibkit-*.whl")
    assert wheel.stat().st_size < 20e6
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True)
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NIBKIT")}
    return plain | {"PYTHONPATH": str(folder / "site"), "MPLBACKEND": "Agg"} | more


def test_the_package_works_without_the_clone(elsewhere):
    done = subprocess.run([sys.executable, "-c", CODE], cwd=elsewhere, env=environment(elsewhere), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "similarity" in done.stdout and (elsewhere / "explained.png").is_file()
    assert done.stdout.splitlines()[-1] == (ROOT / "pyproject.toml").read_text().split('version = "')[1].split('"')[0]


def test_the_command_line_works_without_the_clone(elsewhere):
    """It starts, and is the one that ``CODE`` calls."""
    command = [sys.executable, elsewhere / "site" / "bin" / "nibkit", "--version"]
    done = subprocess.run(command, cwd=elsewhere, env=environment(elsewhere), capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("nibkit "), done.stderr


def test_nibkit_data_says_where_the_data_lie(elsewhere):
    code = "import nibkit as nk; print(len(nk.results('steps')))"
    for folder, status in ((ROOT / "data", 0), (elsewhere / "nowhere", 1)):
        variables = environment(elsewhere, NIBKIT_DATA=str(folder))
        done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, env=variables, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
    assert "NIBKIT_DATA names" in done.stderr and "correct it, or leave it unset" in done.stderr
