"""The metrics' protocols written out with transformers alone, and the pairs and maps that they are tried on."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from helpers import tiny_inputs
from torch.nn import functional as nnf

import nibkit as nk
from nibkit.methods.controls import random_map

PROTOCOLS = ("paper", "eos")
LENGTHS = (5, 8, 3, 12)
COLUMNS = ["image_drop", "image_increase", "text_drop", "text_increase"]
SCORES = ["image_before", "image_after", "text_before", "text_after"]


def some_inputs(**options) -> nk.Inputs:
    """Captions of 3, 6, 1 and 10 words, with repeated ones in two of them."""
    inputs = tiny_inputs(LENGTHS, **options)
    inputs.input_ids[1, 4] = inputs.input_ids[1, 2]
    inputs.input_ids[3, 5] = inputs.input_ids[3, 8] = inputs.input_ids[3, 2]
    return inputs


def some_maps(clip: nk.Clip, inputs: nk.Inputs, seed: int = 0) -> nk.Attribution:
    """Signed random maps of the pairs themselves, so that a pair has the same ones in every batch."""
    found = random_map(clip, inputs, seed)
    return replace(found, image=found.image - 0.4, text=(found.text - 0.4) * inputs.attention_mask)


def found_by(outputs) -> torch.Tensor:
    """transformers' features, whether it returns them bare or in an output."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs.pooler_output


def image_features(model, pixels) -> torch.Tensor:
    with torch.no_grad():
        return found_by(model.get_image_features(pixel_values=pixels[None]))[0]


def text_features(model, ids, mask=None, rows=None) -> torch.Tensor:
    """Features of one caption; rows: a weight for each position's row of the embedding table."""
    if rows is not None:
        model = copy.deepcopy(model)
        model.text_model.embeddings.token_embedding.register_forward_hook(lambda m, i, output: output * rows[None, :, None])
    with torch.no_grad():
        return found_by(model.get_text_features(input_ids=ids[None], attention_mask=None if mask is None else mask[None]))[0]


def cosine(a, b) -> float:
    return float(nnf.cosine_similarity(a, b, dim=0))


def minmax(values):
    return (values - values.min()) / (values.max() - values.min())


def written_out(clip: nk.Clip, inputs: nk.Inputs, att: nk.Attribution, protocol: str) -> pd.DataFrame:
    """The four metrics and what they come from, pair by pair, by transformers' CLIPModel alone."""
    table = []
    for i in range(len(inputs)):
        length = int(inputs.attention_mask[i].sum())
        ids, values, pixels = inputs.input_ids[i, :length], att.text[i, :length], inputs.pixel_values[i]
        image, text = image_features(clip.model, pixels), text_features(clip.model, ids)
        heat = nnf.interpolate(att.image[i][None, None], size=pixels.shape[-2:], mode="bilinear")[0, 0]
        pairs = [(cosine(image, text), cosine(image_features(clip.model, pixels * minmax(heat)), text))]
        if protocol == "paper":
            words, scaled = ids[1:-1], copy.deepcopy(clip.model)
            for token, weight in zip(words, minmax(values)[1:-1]):
                scaled.text_model.embeddings.token_embedding.weight.data[token] *= weight
            before, after = text_features(clip.model, words), text_features(scaled, words)
        else:
            rows = torch.ones(length)
            rows[1:-1] = minmax(values[1:-1]) if length > 3 else 0.0
            before, after = text, text_features(clip.model, ids, rows=rows)
        pairs.append((cosine(image, before), cosine(image, after)))
        figures = [figure for before, after in pairs for figure in (100 * max(0, before - after), 100.0 * (after > before))]
        table.append(figures + [score for pair in pairs for score in pair])
    return pd.DataFrame(table, columns=COLUMNS + SCORES)


def random_att(inputs: nk.Inputs) -> nk.Attribution:
    """Maps that no model is asked for."""
    draw = np.random.RandomState(3)
    values = [torch.from_numpy(draw.standard_normal(shape).astype(np.float32)) for shape in ((3, 3), inputs.input_ids.shape[1:])]
    image, text = (value.expand(len(inputs), *value.shape) for value in values)
    tokens = tuple(tuple(map(str, row[keep.bool()].tolist())) for row, keep in zip(inputs.input_ids, inputs.attention_mask))
    return nk.Attribution(image=image, text=text, tokens=tokens, similarity=torch.zeros(len(inputs)))
