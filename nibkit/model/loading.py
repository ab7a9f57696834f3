"""Loading a CLIP: a bundled one, a local folder, or one from the Hugging Face hub. No code from a pickle or a hub is run."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from ..checks import check_choice, one_line
from ..resources import MODELS, data_dir
from .clip import Clip
from .fidelity import REFUSED, check_weights
from .hub import from_hub
from .views import check_scale

KINDS = {"clip": "CLIPModel", "metaclip_2": "MetaClip2Model"}  # model_type: transformers' class


def load_clip(
    name: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    attention: str = "sdpa",
) -> Clip:
    """Load a dual encoder, frozen and in evaluation mode.

    Args:
        name: one of ``MODELS``, which are bundled ("shapes", "emoji", …); a local folder in the Hugging Face layout (config and
            safetensors suffice; tokenizer and processor are needed by ``prepare`` alone); or a hub name such as
            "openai/clip-vit-base-patch32" (about 600 MB at the first call). By default the variable NIBKIT_CLIP, else "shapes".
            CLIP and MetaCLIP 2 are opened. An open_clip checkpoint is opened in its Hugging Face form: a repository or folder
            with config.json, as laion/CLIP-ViT-B-32-laion2B-s34B-b79K has it beside open_clip's own files.
        device: "cpu", "cuda", "cuda:1", "mps", "auto" or a torch.device; by default the variable NIBKIT_DEVICE, else "auto":
            CUDA where there is one, else the CPU.
        dtype: torch.float32, float64, bfloat16 or float16; by default the variable NIBKIT_DTYPE ("float16"), else float32.
        attention: "sdpa" (fast) or "eager" (has attention weights to look at).

    Raises:
        FileNotFoundError: a name that is neither a folder nor on the hub, or a model that is not on this machine while the hub
            can't be reached.
        ValueError: a folder that holds no CLIP or a damaged one (NaN in it, weights and config.json of two models, …), an unknown
            device, dtype or attention.
    """
    name = name if name is not None else os.environ.get("NIBKIT_CLIP") or "shapes"
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(f"name must be text or a path; got {type(name).__name__}")
    where, dtype = choose_device(device), choose_dtype(dtype)
    check_choice("attention", attention, ("sdpa", "eager"))
    if name in MODELS:
        folder = data_dir() / f"{name}-clip"
    else:
        folder = Path(name).expanduser()
        if folder.is_file():
            raise ValueError(f"{os.fspath(name)} is a file: give a folder with config.json and weights, or a hub name")
        folder = folder if folder.is_dir() else from_hub(os.fspath(name))
    _model_type(folder)
    _check_depth(folder)
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise ValueError(f"{folder} holds no weights: it needs model.safetensors")
    model = _load_weights(folder, dtype, attention).to(where).eval().requires_grad_(False)
    return Clip(model, *_load_processor(folder), name=os.fspath(name))


def _load_weights(folder: Path, dtype: torch.dtype, attention: str) -> torch.nn.Module:
    """The model; ValueError if the weights are damaged, of another shape, not all there, or not all meant.

    What is not there would be random in silence, and a model of fewer blocks than were trained is another one.
    """
    import transformers

    kind = getattr(transformers, KINDS[_model_type(folder)])
    safe = any(folder.glob("*.safetensors"))
    try:
        with _quiet():
            model, report = kind.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=attention,
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=safe,
                weights_only=True,
                ignore_mismatched_sizes=True,  # they are named below
            )
    except Exception as error:  # a strange configuration or damaged file: transformers raises whatever it stumbles over
        first = one_line(error, 200, named=not isinstance(error, (OSError, ValueError, RuntimeError)))
        if "weights_only" in str(error) or isinstance(error, pickle.UnpicklingError):  # torch's advice is to load it unsafely
            first = "a pickle that is damaged or holds more than tensors; no code of it is run"
        raise ValueError(f"{folder} holds no readable CLIP weights ({first}): download or save them again") from error
    for name, found, wanted in sorted(report["mismatched_keys"]):
        shapes = f"{name} is {list(found)}, by config.json it is {list(wanted)}"
        raise ValueError(
            f"{folder} holds no readable CLIP weights ({shapes}): download or save them again, with their config.json"
        )
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{folder} lacks weights, {missing[0]} among them: download or save them again, with their config.json")
    towers = ("text_model.", "vision_model.", "text_projection.", "visual_projection.")
    more = sorted(key for key in report["unexpected_keys"] if key.startswith(towers) and not key.endswith("position_ids"))
    if more:
        raise ValueError(
            f"{folder} holds weights that its config.json has no place for, {more[0]} among them: give both of one model"
        )
    check_weights(model.state_dict().items(), f"the weights in {folder} are damaged, download or save them again")
    return model


def _check_depth(folder: Path) -> None:
    """ValueError where config.json names more blocks than safetensors hold: transformers would build them all first.

    What can't be read here is named by who reads it whole.
    """
    from safetensors import SafetensorError, safe_open

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    keys: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with contextlib.suppress(SafetensorError, OSError), safe_open(file, "pt") as weights:
            keys.update(weights.keys())
    for tower in ("text", "vision"):
        numbers = [
            int(block[1]) for block in (re.match(rf"{tower}_model\.encoder\.layers\.(\d+)\.", key) for key in keys) if block
        ]
        settings = config.get(f"{tower}_config")
        named = settings.get("num_hidden_layers") if isinstance(settings, dict) else None
        if numbers and isinstance(named, int) and named > max(numbers) + 1:
            raise ValueError(
                f"{folder} lacks weights, {tower}_model.encoder.layers.{max(numbers) + 1}.* among them: "
                "download or save them again, with their config.json"
            )


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device that is meant: the argument, else NIBKIT_DEVICE, else "auto". ValueError if unknown or not there."""
    wanted = str(device if device is not None else os.environ.get("NIBKIT_DEVICE") or "auto")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(wanted)
    except RuntimeError as error:
        raise ValueError(f'unknown device {wanted!r}: use "auto", "cpu", "cuda", "cuda:0" or "mps"') from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(chosen.type, False) or (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f'device {wanted!r} is not on this machine: use "cpu" or "auto"')
    return chosen


def choose_dtype(dtype: torch.dtype | None = None) -> torch.dtype:
    """The dtype that is meant: the argument, else the name in NIBKIT_DTYPE, else float32. ValueError if none of the four."""
    wanted = dtype if dtype is not None else os.environ.get("NIBKIT_DTYPE") or "float32"
    known = {str(kind).removeprefix("torch."): kind for kind in (torch.float32, torch.float64, torch.bfloat16, torch.float16)}
    chosen = wanted if isinstance(wanted, torch.dtype) else known.get(str(wanted))
    if chosen is None or chosen not in known.values():
        raise ValueError(f"dtype must be torch.float32, float64, bfloat16 or float16; got {wanted!r}")
    return chosen


def _model_type(folder: Path) -> str:
    """What config.json says the model is. ValueError if there is none, it can't be read, or it names no CLIP."""
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(f"{folder} holds no CLIP: it has no config.json")
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{config} is not readable as JSON ({error})") from error
    except RecursionError as error:
        raise ValueError(f"{config} is not readable as JSON (it is nested too deeply)") from error
    if not isinstance(kind, str) or kind not in KINDS:
        family, why, mend = REFUSED.get(str(kind), ("", "", ""))
        told = f". nibkit does not explain {family}: {why}. Instead, {mend}" if family else ""
        raise ValueError(f'{folder} holds no CLIP: its model_type is {kind!r:.60}, "clip" is needed{told}')
    return kind


def _load_processor(folder: Path) -> tuple[object | None, object | None]:
    """(tokenizer, image processor), each None where the folder has none.

    The image processor is the PIL one by name: the default would pick torchvision's where that is installed, whose resizing
    differs, and the same notebook would print other numbers on another machine.
    """
    from transformers import AutoTokenizer, CLIPImageProcessorPil

    has = lambda *names: any((folder / name).is_file() for name in names)
    tokenizer, processor = None, None
    if has("tokenizer.json", "vocab.json"):
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # the tokenizers library raises whatever it stumbles over
            raise ValueError(f"{folder} holds a tokenizer that can't be read ({type(error).__name__}): save it again") from error
    if has("preprocessor_config.json", "processor_config.json"):
        try:
            processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # a strange configuration: transformers raises whatever it stumbles over
            raise ValueError(
                f"{folder} holds an image processor that can't be read ({type(error).__name__}): save it again"
            ) from error
        check_scale(processor, f"{folder} has")
    return tokenizer, processor


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own progress bar, which would stand in every notebook, its table of what does not fit (an error says
    so, in one line), and torch's doubts about an old pickle."""
    from transformers.utils import logging

    shown, told = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # if it can't be read, an error says so
            yield
    finally:
        logging.set_verbosity(told)
        if shown:
            logging.enable_progress_bar()
