"""nibkit: the Narrowing Information Bottleneck (ICLR 2025), to learn, to teach and to check.

>>> import nibkit as nk
>>> clip = nk.load_clip("shapes")                         # the bundled model; or a hub name, or a folder
>>> inputs = clip.prepare("photo.jpg", "a red circle")    # doctest: +SKIP
>>> attribution = nk.nib(clip, inputs)                    # doctest: +SKIP
"""

from .course import paper
from .course.claims import claim
from .data import datasets, shapes
from .evaluation.evaluate import evaluate
from .evaluation.report import format_summary, plot_summary
from .evaluation.store import read_results
from .evaluation.summary import summarise
from .methods import controls
from .methods.attention import chefer, fastig, saliency
from .methods.attribution import Attribution
from .methods.gradcam import gradcam
from .methods.m2ib import m2ib
from .methods.mfaba import mfaba
from .methods.nib import nib
from .methods.registry import METHODS
from .methods.rise import rise
from .metrics.confidence import confidence
from .metrics.costs import count_passes
from .metrics.curves import curves, insertion_deletion
from .metrics.localisation import localisation
from .model.clip import Clip
from .model.inputs import Inputs
from .model.loading import load_clip
from .resources import results, version
from .show import plots
from .theory import bottleneck, quadrature

__version__ = version()

__all__ = [
    "Attribution",
    "Clip",
    "Inputs",
    "METHODS",
    "bottleneck",
    "claim",
    "confidence",
    "controls",
    "count_passes",
    "curves",
    "datasets",
    "evaluate",
    "format_summary",
    "insertion_deletion",
    "load_clip",
    "localisation",
    "paper",
    "plot_summary",
    "plots",
    "quadrature",
    "read_results",
    "results",
    "shapes",
    "summarise",
    "chefer",
    "fastig",
    "gradcam",
    "m2ib",
    "mfaba",
    "nib",
    "rise",
    "saliency",
]
