"""nibkit: the Narrowing Information Bottleneck (ICLR 2025), to learn, to teach and to check.

>>> import nibkit as nk
>>> clip = nk.load_clip("shapes")                         # the bundled model; or a hub name, or a folder
>>> inputs = clip.prepare("photo.jpg", "a red circle")    # doctest: +SKIP
>>> attribution = nk.nib(clip, inputs)                    # doctest: +SKIP

Two modules share their name with a function: ``nk.nib`` and ``nk.localisation`` are the functions. What else these modules hold
comes by ``from nibkit.localisation import pointing_game``.
"""

from . import bottleneck, controls, datasets, paper, plots, quadrature, shapes
from .attribution import Attribution
from .baselines import chefer, fastig, gradcam, m2ib, mfaba, rise, saliency
from .claims import claim
from .clip import Clip
from .costs import count_passes
from .evaluation import evaluate
from .inputs import Inputs
from .loading import load_clip
from .localisation import localisation
from .metrics import confidence, curves, insertion_deletion
from .nib import nib
from .report import format_summary, plot_summary
from .statistics import summarise
from .storage import read_results

__version__ = "0.1.0"
METHODS = {
    "nib": nib,
    "m2ib": m2ib,
    "rise": rise,
    "gradcam": gradcam,
    "chefer": chefer,
    "saliency": saliency,
    "mfaba": mfaba,
    "fastig": fastig,
}

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
    "shapes",
    "summarise",
    *METHODS,
]
