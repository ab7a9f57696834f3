"""The methods that NIB is compared with: one signature, ``(clip, inputs, **options) -> Attribution``.

Each has ``variant="paper"``, what the NIB authors' code computes under its name, and ``variant="original"``, what its own
authors published.
"""

from .attention import chefer, fastig, saliency
from .gradcam import gradcam
from .m2ib import m2ib
from .mfaba import mfaba
from .rise import rise

__all__ = ["chefer", "fastig", "gradcam", "m2ib", "mfaba", "rise", "saliency"]
