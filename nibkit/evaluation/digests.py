"""What a row depends on, as short texts: a run that goes on compares them, so that rows of two kinds never stand in one file."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..methods.identity import ADDRESS, of_object, plain, written_name
from ..model.blocks import HOOKS, active_hooks, global_hooks
from ..model.clip import Clip

RESULTS = 2  # raised whenever nibkit changes in a way that changes numbers of a run: files begun before are not gone on with
PASSING = ("transformers_version", "architectures", "dtype", "torch_dtype", "image_processor_type", "processor_class")


def digest(*parts: str | bytes | np.ndarray) -> str:
    """A digest of the parts, of arrays with their type and shape: 32 hexadecimal digits."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:  # each begins with its kind and length, so that no two lists of parts are the same bytes
        if isinstance(part, np.ndarray):
            kind, part = f"{part.dtype} {part.shape}", part.tobytes()
        elif isinstance(part, str):
            kind, part = "text", part.encode("utf-8", "surrogatepass")
        else:
            kind = "bytes"
        total.update(f"{kind} {len(part)} ".encode())
        total.update(part)
    return total.hexdigest()


def picture_digest(image: Image.Image) -> str:
    """Of a picture's pixels, however it is stored; ``image`` as ``to_rgb`` returns it."""
    return digest(f"{image.mode} {image.size}", image.tobytes())


def masks_digest(pair: Any) -> str:
    """Of the truth that scores are computed from: the scene where there is one, else the masks; "" where there is none."""

    def given(name: str) -> Any:  # what a property raises, be it an AttributeError, is not taken for "there are no masks"
        return getattr(pair, name) if inspect.getattr_static(pair, name, None) is not None else getattr(pair, name, None)

    if (scene := given("scene")) is not None:
        return digest(np.asarray(scene.masks), f"{scene.named} {scene.phrases}")
    masks = given("masks")
    if masks is None:
        return ""
    return digest(masks.detach().cpu().numpy() if isinstance(masks, torch.Tensor) else np.asarray(masks))


def fingerprint(clip: Clip) -> str:
    """A digest of the weights' names, shapes and values, and of the end token's id."""
    total = hashlib.blake2b(str(clip.text.end).encode(), digest_size=16)
    for name, weight in sorted(clip.model.state_dict().items()):
        total.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        total.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def describe_model(clip: Clip) -> dict[str, str]:
    """What the model makes of a picture and a caption, by name.

    weights: see ``fingerprint``. architecture: of the configuration, and of each module its class, its settings, its hooks and
    patches (see ``identity.written_name``). attention: which implementation. tokenizer: of its vocabulary and rules.
    image_processor: its class, and ``image_processor.size`` … each of its settings as JSON.
    """
    settings = {
        "weights": fingerprint(clip),
        "architecture": digest(
            written(clip.model.config.to_dict()),
            *map(_of_module, *zip(*clip.model.named_modules())),
            *_written_hooks(*global_hooks()),
        ),
        "attention": str(clip.model.config._attn_implementation),
        "tokenizer": _of_tokenizer(clip.tokenizer),
        "image_processor": type(clip.image_processor).__name__,
    }
    processor = clip.image_processor.to_dict() if hasattr(clip.image_processor, "to_dict") else {}
    return settings | {f"image_processor.{name}": written(value) for name, value in processor.items() if name not in PASSING}


def written(value: Any) -> str:
    """A setting as JSON, without what says where it came from and changes no number."""

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): kept(v) for k, v in value.items() if str(k) not in PASSING and not str(k).startswith("_")}
        return [kept(one) for one in value] if isinstance(value, (list, tuple)) else value

    return json.dumps(kept(value), sort_keys=True, default=_as_text)


def _as_text(value: Any) -> str:
    """A foreign object as text that is the same in every run: where its own has an address in memory, its name or its type's."""
    named, text = value if hasattr(value, "__qualname__") else type(value), str(value)
    return f"{named.__module__}.{named.__qualname__}" if ADDRESS.search(text) else text


def _of_module(name: str, module: torch.nn.Module) -> str:
    """Its name and class, its settings, and what was hung on it: hooks and another forward, each by what it is."""
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    hooks, forward = _written_hooks(*(getattr(module, kind) for kind in HOOKS)), vars(module).get("forward")
    changed = [*hooks, *([] if forward is None else [written_name(forward)])]
    settings = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, (int, float, str)) and key not in ("training", "name_or_path") and key[0] != "_"
    }
    if own := of_object(module, "forward"):  # a class of the user's: its source counts, what its forward sets does not
        settings = {}
        changed.append(json.dumps(own, default=plain, sort_keys=True))
    return " ".join([f"{name} {kind} {len(hooks)} {forward is not None} {sorted(settings.items())}", *changed])


def _written_hooks(*kinds: dict) -> list[str]:
    """The hooks in these dictionaries, but for those that only count."""
    active = set(active_hooks(*kinds))
    return [written_name(hook) for hooks in kinds for key, hook in hooks.items() if key in active]


def _of_tokenizer(tokenizer: Any) -> str:
    """Padding and truncation, which each call sets anew, are left out: they come first, the rest follows "added_tokens"."""
    if tokenizer is None:
        return "None"
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = written(tokenizer.get_vocab()) if backend is None else backend.to_str().partition('"added_tokens"')[2]
    return digest(type(tokenizer).__name__, written(tokenizer.special_tokens_map), str(tokenizer.padding_side), rules)
