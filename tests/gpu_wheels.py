"""What a bare GPU machine lacks: fetched as wheels where there is a network, carried over, installed there without one.

    make wheels                                      # or: python tests/gpu_wheels.py --python 3.12

The versions are those of requirements.txt. tests/test_gpu_check.py holds the lists closed: what a carried wheel needs is carried
too, or expected there.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "build" / "wheels"
# nbval and the kernel that it runs the notebooks in, the widgets and Captum that notebooks import, and what all of these need
CARRIED = """
asttokens captum comm debugpy executing fastjsonschema ipykernel ipython ipython-pygments-lexers ipywidgets jedi jsonschema
jsonschema-specifications jupyter-client jupyter-core jupyterlab-widgets matplotlib-inline nbformat nbval nest-asyncio2 parso
pexpect platformdirs prompt-toolkit ptyprocess pure-eval pyzmq referencing rpds-py stack-data tornado traitlets wcwidth
widgetsnbextension
""".split()
# what a machine with PyTorch for its GPU, transformers and the usual scientific packages has
EXPECTED = """
attrs coverage huggingface-hub hypothesis matplotlib numpy packaging pandas pillow psutil pygments pytest python-dateutil
safetensors scikit-image scipy seaborn tokenizers torch tqdm transformers typing-extensions
""".split()
PLATFORMS = "manylinux_2_28_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux_2_12_x86_64 manylinux1_x86_64".split()


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """The versions of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def missing(names: list[str]) -> list[str]:
    """Those of these packages that this Python does not have."""
    there = {normal(found.metadata["Name"] or "") for found in importlib.metadata.distributions()}
    return [name for name in names if name not in there]


def wheel_of(name: str, folder: Path) -> Path | None:
    """The package's wheel in the folder, if there is one."""
    return next((path for path in sorted(folder.glob("*.whl")) if normal(path.name.split("-")[0]) == name), None)


def main() -> int:
    """Fetch the wheels into build/wheels; the exit status is pip's."""
    parser = argparse.ArgumentParser(description="Fetch the wheels that a bare GPU machine lacks.")
    parser.add_argument("--python", default="3.12", help="the Python of that machine (default: 3.12)")
    parser.add_argument("--out", type=Path, default=WHEELS, help="where they go (default: build/wheels)")
    args = parser.parse_args()
    versions = pins()
    how = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", args.python]
    how += [word for platform in PLATFORMS for word in ("--platform", platform)]
    args.out.mkdir(parents=True, exist_ok=True)
    for wheel in args.out.glob("*.whl"):
        wheel.unlink()  # two versions of one package would stop the installation
    wanted = [f"{name}=={versions[name]}" for name in CARRIED]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *how, "--dest", str(args.out)]
    status = subprocess.run([*command, *wanted]).returncode
    if status == 0:
        found = list(args.out.glob("*.whl"))
        print(f"{len(found)} wheels, {sum(wheel.stat().st_size for wheel in found) / 2**20:.0f} MB, in {args.out}")
    return status


if __name__ == "__main__":
    sys.exit(main())
