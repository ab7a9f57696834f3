"""A pretended CUDA device: CPU tensors that claim to lie on ``cuda:0`` and are refused wherever CUDA's would be.

On a machine without a GPU this finds the mistakes that stop a program on one:

- ``.numpy()``, ``np.asarray`` or matplotlib on a tensor that was not brought back with ``.cpu()``;
- tensors of both devices in one operation, a CPU tensor indexed by a device's, a CPU generator asked for a device's numbers
  (CUDA's exceptions are made here too: CPU tensors without dimensions, CPU indices, ``copy_``, assignment to a slice);
- operations without a deterministic form on CUDA while deterministic ones are asked for (those of ``erratic``).

It also computes a little as a GPU does, so that printed numbers can be seen to survive: sums of products are added in another
order, and float32 convolutions and products are rounded to TF32 where torch's settings allow that (convolutions: by default!).

It can't find what only a device has: its kernels' own rounding, races, memory that runs out, streams, drivers, speed. Nor does it
follow other devices (``cuda:1``), CUDA's generators, autocast, C++ extensions, or tensors made on the device by another thread.

``install()`` takes effect for good, in this process. tests/pretend/sitecustomize.py calls it where NIBKIT_PRETEND_CUDA=1, so that
the kernels of notebooks have it too:

    NIBKIT_PRETEND_CUDA=1 NIBKIT_DEVICE=cuda PYTHONPATH=$PWD/tests/pretend python -m tools.run 07
"""

from __future__ import annotations

import types

import torch
from pretend_arithmetic import SUMS
from pretended import (
    CROSSING,
    DEVICE,
    Pretended,
    bring,
    by_index,
    erratic,
    on_device,
    one_device,
    own_generator,
    tensors,
)
from torch.overrides import TorchFunctionMode

MEMORY = 2 * 2**30  # what the device claims to have free; batches of a size that a laptop's cores can do
TO_NUMPY = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."


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
                one_device(name, args, given)
            erratic(name, args, kwargs)
            own_generator(kwargs)
            result = SUMS[func](func, args, kwargs) if func in SUMS else func(*args, **kwargs)
            return bring(result)
        return func(*args, **kwargs)


def make(func, args: tuple, kwargs: dict):
    """A factory called with ``device=``."""
    if not on_device(kwargs["device"]):
        return func(*args, **kwargs)
    own_generator(kwargs)
    kwargs = kwargs | {"device": "cpu"}
    wanted = kwargs.pop("requires_grad", False)
    with torch.no_grad():
        made = func(*args, **kwargs)
        if made is (args[0] if args else None) and not isinstance(made, Pretended):
            made = made.clone()  # as_tensor of a CPU tensor: a copy on the device
    made = bring(made)
    return made.requires_grad_() if wanted else made


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
    torch.Tensor.__getitem__: by_index,
    torch.Tensor.__setitem__: by_index,
    torch.Tensor.get_device: _claim(0),
    torch.Tensor.device.__get__: _claim(DEVICE),
    torch.Tensor.is_cuda.__get__: _claim(True),
    torch.Tensor.is_cpu.__get__: _claim(False),
    torch.Tensor.register_hook: _hook,
    torch.tensor: _from_data,
    torch.as_tensor: _from_data,
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
    Pretended.answer = staticmethod(answer)
    Pretence().__enter__()  # and never left
