"""Loading from a folder: every failure one line that names the mend, and no code from a pickle is ever run."""

import json
import pickle
import re

import pytest
import torch
from helpers import no_network, relative, tiny_clip, tiny_inputs
from loaded import fails_with, same_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPImageProcessorPil

import nibkit as nk
from nibkit.resources import data_dir


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["string", "path"])
def test_a_saved_model_loads(folder, kind, monkeypatch):
    """Config and safetensors suffice, with no network; frozen, in evaluation mode; tokens are the ids."""
    no_network(monkeypatch)
    clip = nk.load_clip(kind(folder), device="cpu")
    assert same_model(clip) and clip.name == str(folder)
    assert not any(module.training for module in clip.model.modules()) and not any(
        w.requires_grad for w in clip.model.parameters()
    )
    att = nk.nib(clip, tiny_inputs((4,)))
    assert att.tokens[0][0] == "98" and att.words is None
    assert relative(att.image, nk.nib(tiny_clip(), tiny_inputs((4,))).image) < 1e-5
    with pytest.raises(ValueError, match="came without tokenizer and image processor"):
        clip.prepare(Image.new("RGB", (9, 9)), "a ring")


def test_a_saved_model_with_tokenizer_and_processor_loads(folder):
    AutoTokenizer.from_pretrained(data_dir() / "shapes-clip", local_files_only=True).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size=48).save_pretrained(folder)
    clip = nk.load_clip(folder, device="cpu")
    inputs = clip.prepare(Image.new("RGB", (99, 50)), "a red circle")
    assert inputs.pixel_values.shape == (1, 3, 48, 48)
    assert [word for word, _ in nk.nib(clip, inputs).words_of(0)] == ["a", "red", "circle"]


def test_a_tokenizer_as_vocabulary_and_merges_loads(folder):
    """OpenAI's older layout: vocab.json and merges.txt; a word made of two tokens stays one word."""
    letters = [chr(c) for c in range(97, 123)]
    words = letters + [letter + "</w>" for letter in letters] + ["ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}))
    CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size=48).save_pretrained(folder)
    clip = nk.load_clip(folder, device="cpu")
    inputs = clip.prepare(Image.new("RGB", (50, 50)), "Cat dog")
    assert inputs.input_ids[0].tolist() == [
        words.index(w) for w in ("<|startoftext|>", "cat</w>", "d", "o", "g</w>", "<|endoftext|>")
    ]
    assert [word for word, _ in nk.nib(clip, inputs, num_steps=1).words_of(0)] == ["Cat", "dog"]


def test_weights_in_torchs_own_format_load(folder):
    """``pytorch_model.bin`` holds tensors only and is read as such."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert same_model(nk.load_clip(folder, device="cpu"))


def test_safetensors_are_preferred(folder):
    (folder / "pytorch_model.bin").write_bytes(b"not looked at")
    assert same_model(nk.load_clip(folder, device="cpu"))


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_code_from_a_pickle_is_run(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    torch.save({"logit_scale": Trap(tmp_path / "sprung")}, folder / "pytorch_model.bin")
    fails_with(ValueError, r"holds no readable CLIP weights \(.*\): download or save them again", folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_another_kind_is_one_error_without_torchs_own_remarks(folder, tmp_path, protocol):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"logit_scale": Trap(tmp_path / "sprung")}, protocol))
    fails_with(ValueError, "holds no readable CLIP weights .a pickle that is damaged or holds more than tensors", folder)
    assert not (tmp_path / "sprung").exists()


def test_pictures_that_are_normalised_but_not_scaled_are_told(folder):
    processor = CLIPImageProcessorPil(do_rescale=False)
    processor.save_pretrained(folder)
    with pytest.warns(UserWarning, match="clip has an image processor with do_rescale false, which makes numbers some hundred"):
        nk.load_clip(folder, device="cpu")
    processor.image_mean, processor.image_std = [122.8, 116.7, 104.1], [68.5, 66.6, 70.3]  # of bytes as they are
    processor.save_pretrained(folder)
    nk.load_clip(folder, device="cpu")


def test_a_file_is_no_model(folder):
    fails_with(ValueError, "model.safetensors is a file: give a folder with config.json", folder / "model.safetensors")


def test_a_folder_without_config_is_no_clip(tmp_path):
    fails_with(ValueError, "holds no CLIP: it has no config.json", tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 10**5, '{"a":' * 10**5])
def test_a_broken_config_is_named(folder, content):
    (folder / "config.json").write_text(content)
    fails_with(ValueError, r"config.json is not readable as JSON", folder)


@pytest.mark.parametrize("kind", ["bert", "clip_vision_model", None, ["clip"], {"clip": 1}, 3.5])
def test_another_model_is_no_clip(folder, kind):
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    fails_with(ValueError, re.escape(f'holds no CLIP: its model_type is {kind!r}, "clip" is needed'), folder)


def test_a_folder_without_weights_says_so(folder):
    (folder / "model.safetensors").unlink()
    fails_with(ValueError, "holds no weights: it needs model.safetensors", folder)


def test_weights_that_lack_a_part_are_refused(folder):
    """transformers would draw the missing ones at random and only log it: a wrong answer in silence."""
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    fails_with(ValueError, "lacks weights, text_projection.weight among them: download or save them again", folder)


def test_weights_of_another_shape_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.weight"] = torch.zeros(3, 3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    fails_with(ValueError, r"holds no readable CLIP weights \(.*\): download or save them again", folder)


@pytest.mark.parametrize("name", ["text_projection.weight", "text_model.encoder.layers.0.mlp.fc1.bias"])
def test_what_does_not_fit_is_told_once_without_transformers_own_table(folder, capfd, name):
    from transformers.utils import logging

    before = logging.get_verbosity()
    weights = load_file(folder / "model.safetensors")
    weights["text_model.more"] = weights.pop(name)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights"):
        nk.load_clip(folder, device="cpu")
    assert capfd.readouterr() == ("", "") and logging.get_verbosity() == before


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_truncated_weights_are_refused(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    fails_with(ValueError, r"holds no readable CLIP weights \(.*header.*\): download or save them again", folder)


def test_a_broken_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    fails_with(ValueError, r"holds a tokenizer that can't be read \(\w+\): save it again", folder)
