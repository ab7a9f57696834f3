"""Is everything there for the notebooks? Each line says what was tried; what is missing comes with its mend.

python check_setup.py
"""

import re
import sys
from importlib import metadata

SIMILARITY = 0.6339  # of the shapes' first scene of seed 0 with its caption
INSTALL = "install the wheel again, as the README says"


def check_python() -> str:
    """Python is new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036  (also an older one reads this file)
        raise RuntimeError(f"this is Python {version}: make the environment with Python 3.11 or newer")
    return f"Python {version}"


def check_packages() -> str:
    """What nibkit and the notebooks need is installed."""
    try:
        needs = metadata.requires("nibkit") or []
    except metadata.PackageNotFoundError:
        raise RuntimeError(f"nibkit is not installed for {sys.executable}: install the wheel, as the README says") from None
    names = [re.split(r"[^\w.-]", need)[0] for need in needs if "extra ==" not in need or "'notebooks'" in need.replace('"', "'")]
    installed = {re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower() for found in metadata.distributions()}
    if missing := [name for name in names if re.sub(r"[-_.]+", "-", name).lower() not in installed]:
        raise RuntimeError(f"not installed: {', '.join(missing)}: {INSTALL}")
    return f"nibkit {metadata.version('nibkit')} and the {len(names)} packages that the notebooks need"


def check_explanation() -> str:
    """The bundled models load, and one explains a picture with the value that it has everywhere."""
    import nibkit as nk

    for name in nk.MODELS:
        nk.load_clip(name, device="cpu")
    clip, scene = nk.load_clip("shapes", device="cpu"), nk.shapes.sample(1, seed=0)[0]
    similarity = float(nk.nib(clip, clip.prepare(scene.image, scene.caption)).similarity[0])
    if abs(similarity - SIMILARITY) > 1e-3:
        raise RuntimeError(f"a picture's similarity is {similarity:.4f} where {SIMILARITY} is expected: {INSTALL}")
    return f"{len(nk.MODELS)} bundled models, one picture explained"


def check_kernel() -> str:
    """The kernel that Jupyter starts for the notebooks has nibkit, too."""
    import nbclient
    import nbformat

    cell = nbformat.v4.new_code_cell("import sys, nibkit\nprint(sys.executable)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    try:
        quiet = ["--log-level=ERROR"]  # a kernel's warnings are not about the set-up
        nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120, extra_arguments=quiet).execute()
    except Exception as error:  # of whatever kind: the kernel is not of use
        said = str(error).strip().splitlines()[-1]
        kernel = "python -m ipykernel install --sys-prefix --name python3"
        raise RuntimeError(f"Jupyter's kernel python3 can't import nibkit ({said}): {kernel}") from None
    return f"Jupyter's kernel python3 is {cell.outputs[0].text.strip()}"


def main() -> int:
    """Try all; 0 if all is there."""
    for check in (check_python, check_packages, check_explanation, check_kernel):
        try:
            print("ok:", check())
        except Exception as error:
            print("NOT READY:", error)
            return 1
    print("All is there: jupyter lab notebooks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
