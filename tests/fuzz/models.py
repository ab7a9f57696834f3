"""Models' folders: fields of a configuration changed, tensors lost, renamed, reshaped or no numbers, files damaged or lost."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import nibkit as nk

from .cases import Case, Fault, check_finite
from .pictures import damage

VALUES: list[Any] = [None, 0, 1, -1, 2, 7, 10**6, 10**30, 0.5, float("nan"), "", "x", "gelu", True, [], {}, [1, 2], {"a": {}},
                     {"height": 0}, {"shortest_edge": -1}, {"height": 224, "width": 10**9}, [0, 0, 0], [1e-9] * 3, "clip",
                     "siglip", ["clip"], "quick_gelu", 224, 1e300]  # fmt: skip


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths to all that lies in nested JSON."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    return found


def change_json(case: Case, file: Path) -> None:
    """One or two fields set to something else, lost, or renamed."""
    whole = json.loads(file.read_text(encoding="utf-8"))
    for _ in range(case.whole(1, 2)):
        all_places = [place for place in places(whole) if "vocab" not in place[:-1]]
        place = all_places[case.whole(0, len(all_places) - 1)]
        owner = whole
        for key in place[:-1]:
            owner = owner[key] if isinstance(owner, dict) and key in owner else {}
        value = owner.pop(place[-1], None)
        how = case.one("set", "set", "set", "set", "lost", "renamed")
        if how != "lost":
            owner[place[-1] + "_x" * (how == "renamed")] = value if how == "renamed" else case.one(*VALUES)
    file.write_text(json.dumps(whole), encoding="utf-8")


def change_weights(case: Case, file: Path) -> str:
    """Some tensors lost, renamed, reshaped, of another type, no numbers, huge."""
    weights = load_file(file)
    how = case.one("lost", "renamed", "shape", "type", "nan", "inf", "huge", "zero", "more", "empty")
    for name in case.some(weights, 1, 3):
        tensor = weights[name]
        if how in ("lost", "renamed"):
            del weights[name]
            if how == "renamed":
                weights[case.one(name + "x", "module." + name, "x." + name)] = tensor
        elif how == "shape":
            weights[name] = case.one(tensor.reshape(-1), tensor[..., :1].clone(), tensor[None].clone(), torch.zeros(0))
        elif how == "type":
            weights[name] = tensor.to(case.one(torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool,
                    torch.uint8))  # fmt: skip
        elif how in ("nan", "inf", "huge", "zero"):
            value = {"nan": torch.nan, "inf": torch.inf, "huge": 1e38, "zero": 0.0}[how]
            flat = tensor.clone().reshape(-1)
            if flat.is_floating_point():
                flat[: case.one(1, len(flat))] = value
            weights[name] = flat.reshape(tensor.shape)
        elif how == "more":
            weights[case.one(name.replace("layers.0", "layers.9"), "text_model.more.weight", "position_ids")] = tensor.clone()
    save_file({} if how == "empty" else weights, file, case.one(None, {"format": "pt"}, {"format": "tf"}))
    return how


def change(case: Case, folder: Path) -> str:
    """Change a model's folder; returns what was changed."""
    files = sorted(path.name for path in folder.iterdir())
    kind = case.one("config", "config", "config", "weights", "weights", "other json", "other json", "bytes", "bytes", "lost",
                    "kind")  # fmt: skip
    if kind == "config":
        change_json(case, folder / "config.json")
    elif kind == "weights":
        return f"weights {change_weights(case, folder / 'model.safetensors')}"
    elif kind == "other json":
        change_json(case, folder / case.one(*[name for name in files if name.endswith(".json") and name != "config.json"]))
    elif kind == "bytes":
        file = folder / case.one(*files)
        data = bytearray(file.read_bytes())
        damage(case, data)
        file.write_bytes(data)
    elif kind == "lost":
        for name in case.some(files, 1, 2):
            (folder / name).unlink()
    else:
        file = folder / case.one(*files)
        file.unlink()
        how = case.one("folder", "empty", "binary", "pickle", "null")
        if how == "folder":
            file.mkdir()
        elif how == "pickle":
            with (folder / "pytorch_model.bin").open("wb") as bad:
                pickle.dump({"x": case.one(Path("x"), 3, print)}, bad)
        else:
            file.write_bytes({"empty": b"", "binary": case.rng.bytes(99), "null": b"null"}[how])
    return kind


def a_model(case: Case) -> str:
    """Load it, prepare a pair, explain it: finite numbers, and the model's own similarity, or a refusal."""
    folder = case.folder / "model"
    shutil.copytree(case.world.model, folder)
    what = change(case, folder)
    with case.unchanged():
        clip, error = case.ask(lambda: nk.load_clip(folder, device="cpu"))
        if error is not None:
            return f"{what}: refused"
        inputs, error = case.ask(lambda: clip.prepare([case.world.picture] * 2, ["a red ring", "a blue heart and a ring"]))
        if error is not None:
            return f"{what}: not prepared"
        att, error = case.ask(lambda: nk.nib(clip, inputs, num_steps=1))
        if error is not None:
            return f"{what}: not explained"
    if "huge" not in what:
        check_finite("a map", att.image, att.text, att.similarity)
    with torch.no_grad():
        ours = clip.model(input_ids=inputs.input_ids, pixel_values=inputs.pixel_values, attention_mask=inputs.attention_mask)
    own = torch.nn.functional.cosine_similarity(ours.image_embeds, ours.text_embeds)
    if torch.isfinite(own).all() and not torch.allclose(own, att.similarity, atol=1e-4):
        raise Fault(f"the similarity is {att.similarity.tolist()}, the model's own is {own.tolist()}")
    return f"{what}: explained"
