"""What the metrics' tables are made of: protocols, columns of costs, and which way is better.

Names alone: who only reads a table of results loads no model's code for them.
"""

from __future__ import annotations

PROTOCOLS = ("paper", "eos", "m2ib")  # how a caption is scaled; see ``confidence``
PASSES = ("forward", "backward", "forward_image", "forward_text", "backward_image", "backward_text")  # as ``costs.Passes`` has
COSTS = ("seconds", "fps", "peak_memory", *PASSES)
LESS = ("drop", "deletion", "seconds", "memory", "forward", "backward")
MORE = ("increase", "insertion", "pointing", "iou", "precision", "beats", "fps")


def better(metric: str) -> int:
    """−1 where less is better, 1 where more is, 0 where the metric's name does not say."""
    return 1 if any(word in metric for word in MORE) else -1 if any(word in metric for word in LESS) else 0
