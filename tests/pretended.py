"""The tensors of ``pretend_cuda``, and what CUDA would refuse to do with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

DEVICE = torch.device("cuda", 0)


class Pretended(torch.Tensor):
    """A CPU tensor that claims to lie on the device. ``answer``, of a function's arguments, is ``pretend_cuda``'s."""

    answer: Callable

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return cls.answer(func, args, kwargs or {})


def tensors(value) -> Iterator[torch.Tensor]:
    """All tensors in nested arguments."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors(part)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def bring(result):
    """The result with its tensors on the device: the same objects where they are there already."""
    if isinstance(result, torch.Tensor):
        return result if isinstance(result, Pretended) else result.as_subclass(Pretended)
    if isinstance(result, (tuple, list)) and any(isinstance(part, torch.Tensor) for part in result):
        parts = [bring(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result


def on_device(device) -> bool:
    """Does this name the device? RuntimeError for one that is not there."""
    if isinstance(device, int) and not isinstance(device, bool):
        device = torch.device("cuda", device)
    device = torch.device(device)
    if device.type == "cuda" and device.index not in (None, 0):
        raise RuntimeError("CUDA error: invalid device ordinal")
    return device.type == "cuda"


CROSSING = {"copy_", "type_as", "__get__", "__set__", "set_", "_has_compatible_shallow_copy_type", "is_same_size", "__hash__"}
STRICT = {"cat", "concat", "stack", "hstack", "vstack", "equal"}  # where a CPU tensor without dimensions is refused, too
TWO = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"


def one_device(name: str, args: tuple, given: list[torch.Tensor]) -> None:
    strangers = [tensor for tensor in given if not isinstance(tensor, Pretended)]
    in_place = name.endswith("_") and (not name.startswith("__") or name.startswith("__i")) and name != "__invert__"
    if any(tensor.ndim or name in STRICT for tensor in strangers):
        raise RuntimeError(f"{TWO} (when checking arguments of {name})")
    if in_place and strangers and args and args[0] is strangers[0]:
        raise RuntimeError(f"{TWO} (when writing the result of {name} into a CPU tensor)")


def own_generator(kwargs: dict) -> None:
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type != "cuda":
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")


def erratic(name: str, args: tuple, kwargs: dict) -> None:
    """Operations that torch refuses on CUDA under ``use_deterministic_algorithms(True)``."""
    if not torch.are_deterministic_algorithms_enabled() or torch.is_deterministic_algorithms_warn_only_enabled():
        return
    x = args[0] if args and isinstance(args[0], torch.Tensor) else None
    differentiated = x is not None and torch.is_grad_enabled() and x.requires_grad
    mode = kwargs.get("mode", "")
    if (
        (name in ("cumsum", "cumsum_") and x.is_floating_point())
        or (name in ("median", "nanmedian") and (len(args) > 1 or "dim" in kwargs))
        or (name == "bincount" and (len(args) > 1 or kwargs.get("weights") is not None))
        or name in ("histc", "put_")
        or (name == "interpolate" and differentiated and mode.endswith(("linear", "bicubic")))
        or (name.startswith("adaptive_") and differentiated)
        or (name in ("grid_sample", "ctc_loss") and differentiated)
        or name == "nll_loss"
    ):
        raise RuntimeError(
            f"{name} on CUDA does not have a deterministic implementation, but deterministic algorithms are asked for"
        )


def by_index(func, args: tuple, kwargs: dict):
    """Reading and writing by an index: CPU indices do for the device's tensors, the device's do not for CPU tensors."""
    self, index, *value = args
    indices = list(tensors(index if isinstance(index, (tuple, list)) else [index]))
    if not isinstance(self, Pretended):
        if any(isinstance(i, Pretended) and (i.ndim or i.dtype == torch.bool) for i in indices):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        return func(*args, **kwargs)
    advanced = bool(indices) or any(hasattr(i, "__array__") and getattr(i, "ndim", 0) for i in _parts(index))
    for stranger in (v for v in value if isinstance(v, torch.Tensor) and not isinstance(v, Pretended)):
        if advanced and stranger.ndim:
            raise RuntimeError(f"{TWO} (when checking the values of an indexed assignment)")
    return bring(func(*args, **kwargs))


def _parts(index) -> list:
    return list(index) if isinstance(index, tuple) else [index]
