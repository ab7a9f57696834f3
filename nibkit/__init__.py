"""nibkit: the Narrowing Information Bottleneck (ICLR 2025), to learn, to teach and to check.

>>> import nibkit as nk
>>> clip = nk.load_clip("shapes")                         # the bundled model; or a hub name, or a folder
>>> inputs = clip.prepare("photo.jpg", "a red circle")    # doctest: +SKIP
>>> attribution = nk.nib(clip, inputs)                    # doctest: +SKIP

A name is imported when it is first used, so what only needs the theory never loads a model's code. ``dir(nibkit)`` lists the
public names. Nobody inside imports this file.

Importing nibkit sets one environment variable, unless it is set already: CUBLAS_WORKSPACE_CONFIG=:4096:8. cuBLAS reads it once,
at the process's first product on a GPU, and without it no sum on a GPU has the same last digits twice. It changes nothing else.
nibkit reads NIBKIT_CLIP, NIBKIT_DEVICE, NIBKIT_DTYPE (see ``load_clip``), NIBKIT_DATA (where the bundled data lie) and
NIBKIT_TF32 (1: leave TF32 as torch has it).
"""

from __future__ import annotations

import difflib
import importlib
import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

if TYPE_CHECKING:
    from .course import paper as paper
    from .course.claims import claim as claim
    from .data import datasets as datasets
    from .data import emoji as emoji
    from .data import shapes as shapes
    from .data.scenes import Scene as Scene
    from .evaluation.evaluate import evaluate as evaluate
    from .evaluation.report import format_summary as format_summary
    from .evaluation.report import plot_summary as plot_summary
    from .evaluation.store import read_results as read_results
    from .evaluation.summary import summarise as summarise
    from .methods import controls as controls
    from .methods.attention import chefer as chefer
    from .methods.attention import fastig as fastig
    from .methods.attention import saliency as saliency
    from .methods.attribution import Attribution as Attribution
    from .methods.cplrp import cplrp as cplrp
    from .methods.evidence import suggest_layer as suggest_layer
    from .methods.gradcam import gradcam as gradcam
    from .methods.gradeclip import gradeclip as gradeclip
    from .methods.interaction_result import Interactions as Interactions
    from .methods.interactions import interactions as interactions
    from .methods.legrad import legrad as legrad
    from .methods.m2ib import m2ib as m2ib
    from .methods.mfaba import mfaba as mfaba
    from .methods.nib import nib as nib
    from .methods.registry import BEYOND as BEYOND
    from .methods.registry import METHODS as METHODS
    from .methods.rise import rise as rise
    from .metrics import faithfulness as faithfulness
    from .metrics.confidence import confidence as confidence
    from .metrics.costs import count_passes as count_passes
    from .metrics.curves import curves as curves
    from .metrics.curves import insertion_deletion as insertion_deletion
    from .metrics.localisation import localisation as localisation
    from .metrics.perturbation import infidelity as infidelity
    from .metrics.perturbation import max_sensitivity as max_sensitivity
    from .model.clip import Clip as Clip
    from .model.inputs import Inputs as Inputs
    from .model.loading import load_clip as load_clip
    from .resources import MODELS as MODELS
    from .resources import results as results
    from .show import interaction_plots as interaction_plots
    from .show import plots as plots
    from .theory import bottleneck as bottleneck
    from .theory import quadrature as quadrature

    __version__: str

_MODULES = {  # public modules, and where they lie
    "bottleneck": "theory.bottleneck",
    "controls": "methods.controls",
    "datasets": "data.datasets",
    "emoji": "data.emoji",
    "faithfulness": "metrics.faithfulness",
    "interaction_plots": "show.interaction_plots",
    "paper": "course.paper",
    "plots": "show.plots",
    "quadrature": "theory.quadrature",
    "shapes": "data.shapes",
}
_NAMES = {  # public functions, classes and tables, and the modules that hold them
    "Attribution": "methods.attribution",
    "BEYOND": "methods.registry",
    "Clip": "model.clip",
    "Inputs": "model.inputs",
    "Interactions": "methods.interaction_result",
    "METHODS": "methods.registry",
    "MODELS": "resources",
    "Scene": "data.scenes",
    "chefer": "methods.attention",
    "claim": "course.claims",
    "confidence": "metrics.confidence",
    "count_passes": "metrics.costs",
    "cplrp": "methods.cplrp",
    "curves": "metrics.curves",
    "evaluate": "evaluation.evaluate",
    "fastig": "methods.attention",
    "format_summary": "evaluation.report",
    "gradcam": "methods.gradcam",
    "gradeclip": "methods.gradeclip",
    "infidelity": "metrics.perturbation",
    "insertion_deletion": "metrics.curves",
    "legrad": "methods.legrad",
    "interactions": "methods.interactions",
    "load_clip": "model.loading",
    "localisation": "metrics.localisation",
    "m2ib": "methods.m2ib",
    "max_sensitivity": "metrics.perturbation",
    "mfaba": "methods.mfaba",
    "nib": "methods.nib",
    "plot_summary": "evaluation.report",
    "read_results": "evaluation.store",
    "results": "resources",
    "rise": "methods.rise",
    "saliency": "methods.attention",
    "suggest_layer": "methods.evidence",
    "summarise": "evaluation.summary",
}
__all__ = sorted([*_MODULES, *_NAMES])


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for."""
    if name == "__version__":
        value: Any = importlib.import_module(".resources", __name__).version()
    elif name in _MODULES:
        value = importlib.import_module(f".{_MODULES[name]}", __name__)
    elif name in _NAMES:
        value = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    else:
        close = difflib.get_close_matches(name, __all__, n=1)
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
        )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])
