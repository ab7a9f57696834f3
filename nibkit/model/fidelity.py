"""The model explained is the model given: what can't be explained is refused by name, and what is computed is compared with the
model's own forward pass, once, at first use, on pairs of the batch at hand."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as nnf

from ..checks import one_line
from .blocks import ATTENTIONS, HOOKS, active_hooks, attention_functions, global_hooks
from .inputs import Inputs
from .repeatable import untouched
from .towers import Tower

ROUNDING = {torch.float16: 0.03, torch.bfloat16: 0.1}  # how far two ways to the same unit vector may lie apart: the bundled
EXACT = 1e-4  # model's are .0006 and .004 apart; in float32 and wider 1e-7, deeper models' some ten times as far
OF_THE_GPU = (torch.OutOfMemoryError, torch.AcceleratorError)  # it is full or lost: neither the model's fault nor a pair's
FAILURES = (RuntimeError, TypeError, AttributeError, IndexError, KeyError)  # what a module that is built otherwise raises
PARTS = {
    "vision_model": ("embeddings", "pre_layrnorm", "encoder.layers", "post_layernorm"),
    "text_model": ("embeddings.token_embedding", "encoder.layers", "final_layer_norm"),
    "": ("visual_projection", "text_projection", "logit_scale", "config.vision_config", "config.text_config"),
}
ONE_TOWER = "it is one half of a CLIP", "load the whole of it: CLIPModel.from_pretrained on the same checkpoint"
OTHER = "give a CLIPModel or a MetaClip2Model (nk.load_clip opens both)"
REFUSED = {  # model_type: (its name, why it can't be explained, what can be done)
    "siglip": ("SigLIP", "it has no class token but a pooling head, and reads captions at the last position", OTHER),
    "siglip2": ("SigLIP 2", "it has no class token but a pooling head, and reads captions at the last position", OTHER),
    "clipseg": (
        "CLIPSeg",
        "its answer is a mask from a decoder, not the cosine of a picture and a caption",
        "explain the CLIP that it is built on (openai/clip-vit-base-patch16)",
    ),
    "altclip": ("AltCLIP", "its captions are read by XLM-R, which is not CLIP's text encoder", OTHER),
    "chinese_clip": ("ChineseCLIP", "its captions are read by BERT, which is not CLIP's text encoder", OTHER),
    "groupvit": ("GroupViT", "its pictures are cut into groups on the way, so a cut has no patches", OTHER),
    "xclip": ("X-CLIP", "it looks at videos, frame by frame", OTHER),
    "owlvit": ("OWL-ViT", "it finds boxes, and scores each patch for itself", OTHER),
    "owlv2": ("OWLv2", "it finds boxes, and scores each patch for itself", OTHER),
    "blip": ("BLIP", "its captions are read by BERT, which is not CLIP's text encoder", OTHER),
    "clip_vision_model": ("CLIP's image encoder", *ONE_TOWER),
    "clip_text_model": ("CLIP's text encoder", *ONE_TOWER),
    "metaclip_2_vision_model": ("MetaCLIP 2's image encoder", ONE_TOWER[0], "load the whole MetaClip2Model"),
    "metaclip_2_text_model": ("MetaCLIP 2's text encoder", ONE_TOWER[0], "load the whole MetaClip2Model"),
}


def check_supported(model: Any) -> None:
    """TypeError if it is no torch module, ValueError if it is not built as CLIP: says which it is, why, and what can be done."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a transformers CLIPModel, as nk.load_clip opens it; got {type(model).__name__}")
    name = type(model).__name__
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if isinstance(kind, str) and kind in REFUSED:
        family, why, mend = REFUSED[kind]
        raise ValueError(f"model is of class {name} ({family}), which nibkit does not explain: {why}. Instead, {mend}")
    for tower, parts in PARTS.items():
        for part in (f"{tower}.{part}".lstrip(".") for part in parts):
            if reach(model, part) is None:
                inner = ": give model.module, which it wraps" if isinstance(getattr(model, "module", None), nn.Module) else ""
                raise ValueError(
                    f"model is of class {name}, which is not built as CLIP: it has no {part}{inner or f'. Instead, {OTHER}'}"
                )
    for side in ("vision", "text"):
        config = reach(model, f"config.{side}_config")
        if config.num_attention_heads < 1 or config.hidden_size % config.num_attention_heads:
            raise ValueError(
                f"{side}_config.num_attention_heads is {config.num_attention_heads}, which does not divide hidden_size "
                f"{config.hidden_size}: correct the configuration"
            )
        if not len(reach(model, f"{side}_model.encoder.layers")):
            raise ValueError(f"{side}_model.encoder.layers is empty: there is no block to cut at")


def reach(module: Any, path: str) -> Any:
    """The part at a dotted path, None if there is none."""
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def check_weights(tensors: Iterable[tuple[str, torch.Tensor]], mend: str = "load or train the model again") -> None:
    """ValueError, naming the tensor, if one holds NaN or infinity, or if it holds no numbers at all (the device "meta")."""
    for name, tensor in tensors:
        if tensor.is_meta:
            raise ValueError(f"{name} has no values (it lies on the device 'meta'): load the weights first")
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32))):
            if not torch.isfinite(tensor).all():  # not a sum that overflows
                raise ValueError(f"{name} holds NaN or infinity: {mend}")


Signature = tuple[str, list[Any]]


def signature(model: Any) -> Signature:
    """What is another one (see ``unchanged``) when a module is replaced, hooked, or gets another forward or attention: cheap.

    It holds the modules and functions themselves: a number made of their addresses would take a new function for an old one that
    is gone, whose place in memory it has. Weights are never looked at, hooks that only count are left out.
    """
    parts: list[Any] = active_hooks(*global_hooks())
    todo: list[Any] = [model]
    for module in todo:
        own = vars(module)
        if inner := own["_modules"]:
            todo += [part for part in inner.values() if part is not None]
        parts += (module, type(module).forward, own.get("forward"))
        if own["_forward_hooks"] or own["_forward_pre_hooks"]:
            parts += active_hooks(own["_forward_hooks"], own["_forward_pre_hooks"])
    settings = [getattr(model.text_model, "eos_token_id", None)]
    for module in (model, model.vision_model, model.text_model):
        parts += [part for name, value in vars(module).items() if callable(value) and name != "forward" for part in (name, value)]
        settings.append(getattr(module.config, "_attn_implementation", None))
        parts += attention_functions(module.config)
    return str(settings), parts


def unchanged(before: Signature | None, now: Signature) -> bool:
    """Are two signatures of the same objects? (Not of equal ones: whatever ``==`` does between them is not asked.)"""
    if before is None or before[0] != now[0] or len(before[1]) != len(now[1]):
        return False
    return all(map(operator.is_, before[1], now[1]))


# --- against the model's own forward --------------------------------------------------------------------------------------------


def check_same(model: Any, towers: Sequence[Tower], inputs: Inputs) -> None:
    """ValueError if the towers' features of these pairs are not those of the model's own forward, within rounding.

    Looked at are the shortest and the longest caption with their pictures, as methods look at them: without padding, whole and
    halved in one batch. So a row that sees its neighbours, or padding, is noticed, too. The model's mode and random states stay.
    """
    length = towers[1].span(inputs)
    pairs = inputs[sorted({int(length.argmin()), int(length.argmax())})]
    with (
        untouched(model),
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(pairs.pixel_values.device.type, enabled=False),
    ):
        ours = {side: _attempt(side, tower, pairs) for side, tower in zip(("image", "text"), towers)}
        try:
            output = model(input_ids=pairs.input_ids, pixel_values=pairs.pixel_values, attention_mask=pairs.attention_mask.long())
            own = {"image": output.image_embeds, "text": output.text_embeds}
        except OF_THE_GPU:
            raise
        except (ValueError, *FAILURES) as error:
            raise ValueError(f"the model's own forward fails on this batch ({one_line(error, named=True)})") from error
    for side, features in ours.items():
        if not (torch.isfinite(features).all() and torch.isfinite(own[side]).all()):
            raise ValueError(
                f"the {side} features hold NaN or infinity, though the weights do not: {features.dtype} is too narrow for this "
                "model, load it with dtype=torch.float32"
            )
        if (gap := apart(features, own[side])) > tolerance(features):
            raise ValueError(
                f"nibkit's {side} features are not the model's own: their directions are {gap:.2g} apart (rounding is below "
                f"{tolerance(features):.0e}).{_suspects(model)} Blocks are explained as they are, whatever their class or hooks, "
                "if each treats every pair and every call alike and sees no padding; put the change into a block, or take it away"
            )


def _attempt(side: str, tower: Tower, pairs: Inputs) -> torch.Tensor:
    """The tower's features, [R, D], of pairs R, each alone; ValueError if it can't be cut."""
    rows = [tower.crop(pairs[i], int(length)) for i, length in enumerate(tower.span(pairs))]
    embedded = [tower.embed(row) for row in rows]  # says itself what is wrong with the inputs
    try:
        features = [_in_parts(side, tower, row, z) for row, z in zip(rows, embedded)]
    except OF_THE_GPU:
        raise
    except FAILURES as error:
        said = f"the {side} encoder can't be cut into head and tail ({one_line(error, named=True)}): its parts are not CLIP's"
        raise ValueError(said) from error
    return torch.cat(features)


def _in_parts(side: str, tower: Tower, row: Inputs, z: torch.Tensor) -> torch.Tensor:
    """Features [1, D] of one pair, whose embedded input is z [1, S, C], computed beside those of z/2."""
    entered, wide = tower.enter(tower.raw(row)), torch.promote_types(z.dtype, torch.float32)
    if entered.shape != z.shape or apart(entered.flatten(1), z.flatten(1)) > tolerance(z):
        raise ValueError(
            f"the {side} encoder's embeddings give other states for their own rows (inputs_embeds) than for the inputs"
        )
    lam = torch.tensor([[1.0], [0.5]], device=z.device, dtype=wide).expand(2, z.shape[1])
    both = torch.zeros(2, device=z.device, dtype=torch.long)
    features = tower.finish_narrowed(z, both, lam, 0, tower.pooled(row)[both], tower.mask(z.shape[1], row.attention_mask[both]))
    if features.shape[-1] != tower.dimension:
        raise ValueError(f"the {side} projection gives {features.shape[-1]} numbers, the configuration says {tower.dimension}")
    return features[:1]


def apart(ours: torch.Tensor, own: torch.Tensor) -> float:
    """How far two vectors' directions [R, D] lie apart, at most: the length of their unit vectors' difference."""
    if ours.shape != own.shape:
        return float("inf")
    return float((nnf.normalize(ours.double(), dim=-1) - nnf.normalize(own.double(), dim=-1)).norm(dim=-1).max())


def tolerance(features: torch.Tensor) -> float:
    """What rounding may do to ``apart``, by the dtype; float32 products in TF32, where torch is told so, have float16's bits."""
    precision: Any = torch.backends.cuda.matmul
    coarse = features.device.type == "cuda" and precision.fp32_precision == "tf32" and features.dtype == torch.float32
    return ROUNDING.get(torch.float16 if coarse else features.dtype, EXACT)


def _suspects(model: nn.Module) -> str:
    """What stands out in the model: hooks, patched forwards and classes of other origin, in a sentence."""
    found = [f"a global {kind[1:-1].replace('_', ' ')}" for kind, hooks in zip(HOOKS, global_hooks()) if active_hooks(hooks)]
    for name, part in model.named_modules():
        hooked = bool(active_hooks(*(getattr(part, kind) for kind in HOOKS)))
        foreign = not type(part).__module__.startswith(("torch.nn.modules.", "transformers."))
        signs = [text for sign, text in ((hooked, "hook"), ("forward" in vars(part), "patched forward")) if sign]
        signs += [type(part).__name__] if foreign else []
        found += [f"{name or type(model).__name__} ({', '.join(signs)})"] if signs else []
    kinds = {str(reach(model, f"config.{side}_config._attn_implementation") or "sdpa") for side in ("vision", "text")}
    found += [f"the attention {kind!r}" for kind in sorted(kinds - set(ATTENTIONS))]
    return f" What stands out in it: {', '.join(found[:4])}{' …' if len(found) > 4 else ''}." if found else ""
