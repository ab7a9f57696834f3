"""A pretended CUDA device: CPU tensors that claim to lie on ``cuda:0`` and are refused wherever CUDA's would be.

On a machine without a GPU this finds the mistakes that stop a program on one:

- ``.numpy()``, ``np.asarray`` or matplotlib on a tensor that was not brought back with ``.cpu()``;
- tensors of both devices in one operation, a CPU tensor indexed by a device's, a CPU generator asked for a device's numbers
  (CUDA's exceptions are made here too: CPU tensors without dimensions, CPU indices, ``copy_``, assignment to a slice);
- operations without a deterministic form on CUDA while deterministic ones are asked for (those of ``_erratic``).

It also computes a little as a GPU does, so that printed numbers can be seen to survive: sums of products are added in another
order, and float32 convolutions and products are rounded to TF32 where torch's settings allow that (convolutions: by default!).

It can't find what only a device has: its kernels' own rounding, races, memory that runs out, streams, drivers, speed. Nor does it
follow other devices (``cuda:1``), CUDA's generators, autocast, C++ extensions, or tensors made on the device by another thread.

``install()`` takes effect for good, in this process. tests/pretend/sitecustomize.py calls it where NIBKIT_PRETEND_CUDA=1, so that
the kernels of notebooks have it too:

    NIBKIT_PRETEND_CUDA=1 NIBKIT_DEVICE=cuda PYTHONPATH=$PWD/tests/pretend python -m tools.run 07
"""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Iterator

import torch
from torch.nn import functional as nnf
from torch.overrides import TorchFunctionMode

DEVICE = torch.device("cuda", 0)
MEMORY = 2 * 2**30  # what the device claims to have free; batches of a size that a laptop's cores can do


class Pretended(torch.Tensor):
    """A CPU tensor that claims to lie on the device."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return answer(func, args, kwargs or {})


class Pretence(TorchFunctionMode):
    """Sends every torch function through ``answer``: also those that make tensors, and those of CPU tensors alone."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return answer(func, args, kwargs or {})


# --- one torch function -------------------------------------------------------------------------------------------------------


def answer(func, args: tuple, kwargs: dict):
    """What torch would answer if the device were there. Inside, all tensors are the CPU tensors that they really are."""
    with torch._C.DisableTorchFunctionSubclass():
        if func in HANDLERS:
            return HANDLERS[func](func, args, kwargs)
        name = getattr(func, "__name__", "")
        given = list(tensors((args, kwargs)))
        here = any(isinstance(tensor, Pretended) for tensor in given)
        if kwargs.get("device") is not None:  # a factory, or new_zeros and its like
            return make(func, args, kwargs)
        if here:
            if name not in CROSSING:
                _one_device(name, args, given)
            _erratic(name, args, kwargs)
            _own_generator(kwargs)
            result = SUMS[func](func, args, kwargs) if func in SUMS else func(*args, **kwargs)
            return bring(result)
        return func(*args, **kwargs)


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


def make(func, args: tuple, kwargs: dict):
    """A factory called with ``device=``."""
    if not on_device(kwargs["device"]):
        return func(*args, **kwargs)
    _own_generator(kwargs)
    kwargs = kwargs | {"device": "cpu"}
    wanted = kwargs.pop("requires_grad", False)
    with torch.no_grad():
        made = func(*args, **kwargs)
        if made is (args[0] if args else None) and not isinstance(made, Pretended):
            made = made.clone()  # as_tensor of a CPU tensor: a copy on the device
    made = bring(made)
    return made.requires_grad_() if wanted else made


# --- what CUDA refuses --------------------------------------------------------------------------------------------------------

CROSSING = {"copy_", "type_as", "__get__", "__set__", "set_", "_has_compatible_shallow_copy_type", "is_same_size", "__hash__"}
STRICT = {"cat", "concat", "stack", "hstack", "vstack", "equal"}  # where a CPU tensor without dimensions is refused, too
TWO = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
TO_NUMPY = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."


def _one_device(name: str, args: tuple, given: list[torch.Tensor]) -> None:
    strangers = [tensor for tensor in given if not isinstance(tensor, Pretended)]
    in_place = name.endswith("_") and (not name.startswith("__") or name.startswith("__i")) and name != "__invert__"
    if any(tensor.ndim or name in STRICT for tensor in strangers):
        raise RuntimeError(f"{TWO} (when checking arguments of {name})")
    if in_place and strangers and args and args[0] is strangers[0]:
        raise RuntimeError(f"{TWO} (when writing the result of {name} into a CPU tensor)")


def _own_generator(kwargs: dict) -> None:
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type != "cuda":
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")


def _erratic(name: str, args: tuple, kwargs: dict) -> None:
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


def _index(func, args: tuple, kwargs: dict):
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


# --- moving, looking, leaving -------------------------------------------------------------------------------------------------


def _to(func, args: tuple, kwargs: dict):
    """``Tensor.to`` in all its forms; between devices it is always a copy."""
    self, *rest = args
    target = isinstance(self, Pretended)

    def here(value):
        nonlocal target
        if isinstance(value, torch.Tensor):
            target = isinstance(value, Pretended)
        elif isinstance(value, (str, torch.device)) or (isinstance(value, int) and not isinstance(value, bool)):
            target = on_device(value)
            return torch.device("cpu") if target else value
        return value

    rest = [here(value) for value in rest[:1]] + rest[1:]
    kwargs = {key: here(value) if key in ("device", "other") and value is not None else value for key, value in kwargs.items()}
    if target == isinstance(self, Pretended):
        moved = func(self, *rest, **kwargs)
        return bring(moved) if target else moved
    moved = func(self.as_subclass(torch.Tensor), *rest, **kwargs | {"copy": True})
    return bring(moved) if target else moved


def _cpu(func, args: tuple, kwargs: dict):
    self = args[0]
    return self.as_subclass(torch.Tensor).clone() if isinstance(self, Pretended) else self


def _cuda(func, args: tuple, kwargs: dict):
    return args[0] if isinstance(args[0], Pretended) else bring(args[0].clone())


def _type_as(func, args: tuple, kwargs: dict):
    return _to(torch.Tensor.to, args, kwargs)


def _claim(here):
    """A property's getter: ``here`` for the device's tensors, the truth for all others."""
    return lambda func, args, kwargs: here if isinstance(args[0], Pretended) else func(*args, **kwargs)


def _no_numpy(func, args: tuple, kwargs: dict):
    self = args[0]
    if isinstance(self, Pretended):
        if not kwargs.get("force"):
            raise TypeError(TO_NUMPY)
        self = self.as_subclass(torch.Tensor)
    return func(self, *args[1:], **kwargs)


def _repr(func, args: tuple, kwargs: dict) -> str:
    self = args[0]
    if not isinstance(self, Pretended):
        return func(*args, **kwargs)
    text = repr(self.detach().as_subclass(torch.Tensor))
    text = text.replace(", dtype=", f", device='{DEVICE}', dtype=") if ", dtype=" in text else f"{text[:-1]}, device='{DEVICE}')"
    return f"{text[:-1]}, requires_grad=True)" if self.requires_grad else text


def _from_data(func, args: tuple, kwargs: dict):
    """torch.tensor and as_tensor: on the device that is named, else where the tensor is that they are given, else on the CPU."""
    if kwargs.get("device") is not None:
        data = args[0] if args else None
        if isinstance(data, Pretended) and not on_device(kwargs["device"]):
            return func(data.as_subclass(torch.Tensor).clone(), *args[1:], **kwargs)
        if isinstance(data, Pretended) and func is torch.as_tensor:
            return bring(func(*args, **kwargs | {"device": "cpu"}))
        return make(func, args, kwargs)
    made = func(*args, **kwargs)
    return bring(made) if args and isinstance(args[0], Pretended) else made


def _hook(func, args: tuple, kwargs: dict):
    self, hook = args

    def called(gradient: torch.Tensor):
        with torch._C._EnableTorchFunction():  # it is called from within an answer
            return hook(bring(gradient))

    return func(self, called if isinstance(self, Pretended) else hook)


def _format(func, args: tuple, kwargs: dict) -> str:
    self = args[0]
    return format(self.item(), args[1]) if isinstance(self, Pretended) and self.ndim == 0 else func(*args, **kwargs)


def _deepcopy(func, args: tuple, kwargs: dict):
    self, memo = args
    if not isinstance(self, Pretended):
        return func(*args, **kwargs)
    if id(self) not in memo:
        copy = bring(self.detach().as_subclass(torch.Tensor).clone()).requires_grad_(self.requires_grad)
        copy.__dict__.update(self.__dict__)  # what makes a parameter of it
        memo[id(self)] = copy
    return memo[id(self)]


HANDLERS = {
    torch.Tensor.to: _to,
    torch.Tensor.cpu: _cpu,
    torch.Tensor.cuda: _cuda,
    torch.Tensor.type_as: _type_as,
    torch.Tensor.numpy: _no_numpy,
    torch.Tensor.__array__: _no_numpy,
    torch.Tensor.__repr__: _repr,
    torch.Tensor.__format__: _format,
    torch.Tensor.__deepcopy__: _deepcopy,
    torch.Tensor.__getitem__: _index,
    torch.Tensor.__setitem__: _index,
    torch.Tensor.get_device: _claim(0),
    torch.Tensor.device.__get__: _claim(DEVICE),
    torch.Tensor.is_cuda.__get__: _claim(True),
    torch.Tensor.is_cpu.__get__: _claim(False),
    torch.Tensor.register_hook: _hook,
    torch.tensor: _from_data,
    torch.as_tensor: _from_data,
}


# --- a little of a GPU's arithmetic -------------------------------------------------------------------------------------------


def order(x: torch.Tensor, dim: int) -> torch.Tensor:
    """What is to be summed over, in another order: from the end, or begun elsewhere (NIBKIT_PRETEND_ORDER=1, 2, …)."""
    shift = int(os.environ.get("NIBKIT_PRETEND_ORDER") or 0)
    return x.roll(shift, dim) if shift else x.flip(dim)


def tf32(x: torch.Tensor) -> torch.Tensor:
    """Rounded to TF32's 10 bits of mantissa; gradients go through unrounded."""
    bits = x.detach().contiguous().view(torch.int32)
    return x + (((bits + 0x1000) & ~0x1FFF).view(torch.float32) - x.detach())


@functools.cache
def _workspace() -> bool:
    """Are products repeatable? Asked at the first product of the process, and never again: so does torch."""
    return os.environ.get("CUBLAS_WORKSPACE_CONFIG") in (":4096:8", ":16:8")


def _factors(a: torch.Tensor, b: torch.Tensor, settings) -> tuple[torch.Tensor, torch.Tensor]:
    if a.dtype == b.dtype == torch.float32 and settings.fp32_precision == "tf32":
        return tf32(a), tf32(b)
    return a, b


def _product(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if not _workspace() and torch.are_deterministic_algorithms_enabled():
        raise RuntimeError("deterministic algorithms are asked for: set CUBLAS_WORKSPACE_CONFIG=:4096:8 before the first product")
    return _factors(a, b, torch.backends.cuda.matmul)


def _linear(func, args: tuple, kwargs: dict):
    x, weight = _product(args[0], args[1])
    return func(order(x, -1), order(weight, -1), *args[2:], **kwargs)


def _matmul(func, args: tuple, kwargs: dict):
    if len(args) != 2 or kwargs:
        return func(*args, **kwargs)
    a, b = args[::-1] if func is torch.Tensor.__rmatmul__ else args
    a, b = _product(a, b)
    return torch.matmul(order(a, -1), order(b, -2 if b.ndim > 1 else -1))


def _conv2d(func, args: tuple, kwargs: dict):
    x, weight = _factors(args[0], args[1], torch.backends.cudnn.conv)
    grouped = x.shape[1] != weight.shape[1]
    return func(*((x, weight) if grouped else (order(x, 1), order(weight, 1))), *args[2:], **kwargs)


SUMS = {
    nnf.linear: _linear,
    torch.conv2d: _conv2d,
    **dict.fromkeys(
        (torch.matmul, torch.bmm, torch.mm, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__), _matmul
    ),
}


# --- torch.cuda ---------------------------------------------------------------------------------------------------------------


def install() -> None:
    """From here on, in this process and thread, there is a CUDA device."""
    if getattr(torch.cuda, "pretended", False):
        return
    properties = types.SimpleNamespace(name="pretended", major=9, minor=0, total_memory=MEMORY, multi_processor_count=1)
    answers = dict(
        is_available=True,
        is_initialized=True,
        is_bf16_supported=True,
        device_count=1,
        current_device=0,
        get_device_name=properties.name,
        get_device_properties=properties,
        get_device_capability=(properties.major, properties.minor),
        mem_get_info=(MEMORY, MEMORY),
    )
    silent = "init synchronize empty_cache set_device manual_seed manual_seed_all set_rng_state set_rng_state_all ipc_collect"
    answers |= dict.fromkeys([*silent.split(), "reset_peak_memory_stats", "set_per_process_memory_fraction"])
    answers |= dict.fromkeys(("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"), 0)
    for name, value in answers.items():
        setattr(torch.cuda, name, lambda *_, value=value, **__: value)  # each a function of its own: torch tells them apart
    torch.cuda.get_rng_state = lambda *_: torch.get_rng_state()
    torch.cuda.get_rng_state_all = lambda: [torch.get_rng_state()]
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # Module.to makes new parameters, of our class
    torch.cuda.pretended = True
    Pretence().__enter__()  # and never left
