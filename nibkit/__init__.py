"""nibkit: the Narrowing Information Bottleneck (ICLR 2025), to learn, to teach and to check.

>>> import nibkit as nk
>>> clip = nk.load_clip("shapes")                         # the bundled model; or a hub name, or a folder
>>> inputs = clip.prepare("photo.jpg", "a red circle")    # doctest: +SKIP
>>> attribution = nk.nib(clip, inputs)                    # doctest: +SKIP
"""

from . import bottleneck, plots, quadrature, shapes
from .attribution import Attribution
from .baselines import m2ib
from .claims import claim
from .clip import Clip
from .inputs import Inputs
from .loading import load_clip
from .nib import nib

__version__ = "0.1.0"
__all__ = [
    "Attribution",
    "Clip",
    "Inputs",
    "METHODS",
    "bottleneck",
    "claim",
    "load_clip",
    "m2ib",
    "nib",
    "plots",
    "quadrature",
    "shapes",
]
METHODS = {"nib": nib, "m2ib": m2ib}
