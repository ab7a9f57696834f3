"""The methods that NIB is compared with: one file each, one signature, ``(clip, inputs, **options) -> Attribution``."""

from .m2ib import m2ib

__all__ = ["m2ib"]
