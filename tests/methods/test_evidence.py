"""What survives of F without the patches or the words, written out in float64, and the rule that picks a layer by it."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ShortMemory, new_clip, same, state, tiny_clip, tiny_inputs
from torch.nn import functional as nnf

import nibkit as nk
from nibkit.methods import evidence
from nibkit.methods.evidence import suggest_layer, surviving

LENGTHS = (5, 8, 6, 8)


def written_out(clip: nk.Clip, inputs: nk.Inputs, layer: int) -> tuple[float, float]:
    """(image, text) by transformers' own blocks, pair by pair, captions without their padding."""
    model, shares = clip.model, []
    lengths = inputs.attention_mask.sum(1).tolist()
    with torch.no_grad():
        vision, text = model.vision_model, model.text_model
        states = {
            "image": [vision(p[None], output_hidden_states=True).hidden_states[layer][0] for p in inputs.pixel_values],
            "text": [
                text(ids[None, :n], output_hidden_states=True).hidden_states[layer][0]
                for ids, n in zip(inputs.input_ids, lengths)
            ],
        }

        def finish(side: str, z: torch.Tensor) -> torch.Tensor:
            tower, n = getattr(model, "vision_model" if side == "image" else "text_model"), len(z)
            mask = None if side == "image" else torch.full((n, n), torch.finfo(z.dtype).min, dtype=z.dtype).triu(1)[None, None]
            z = z[None]
            for block in tower.encoder.layers[layer:]:
                z = block(z, mask)
            if side == "image":
                return model.visual_projection(tower.post_layernorm(z[0, 0]))
            return model.text_projection(tower.final_layer_norm(z[0, -1]))

        whole = {side: [finish(side, z) for z in zs] for side, zs in states.items()}
        for side, other in (("image", "text"), ("text", "image")):
            zs = states[side]
            read = [0 if side == "image" else len(z) - 1 for z in zs]
            inside = [range(1, len(z)) if side == "image" else range(1, len(z) - 1) for z in zs]
            F = []
            for empty_read in (None, False, True):
                cosines = []
                for z, r, positions, target in zip(zs, read, inside, whole[other]):
                    z = z.clone()
                    if empty_read is not None:
                        for k in positions:
                            z[k] = torch.stack([w[k] for w, own in zip(zs, inside) if k in own]).mean(0)
                    if empty_read:
                        z[r] = torch.stack([w[q] for w, q in zip(zs, read)]).mean(0)
                    cosines.append(float(nnf.cosine_similarity(finish(side, z), target, dim=0)))
                F.append(np.mean(cosines))
            shares.append((F[1] - F[2]) / (F[0] - F[2]))
    return tuple(shares)


def test_surviving_written_out():
    clip, inputs = tiny_clip(dtype=torch.float64, depth=3), tiny_inputs(LENGTHS)
    table = surviving(clip, inputs.to(dtype=torch.float64))
    assert table["layer"].tolist() == [0, 1, 2, 3]
    for layer, image, text in table.itertuples(index=False):
        assert (image, text) == pytest.approx(written_out(clip, inputs.to(dtype=torch.float64), layer), abs=1e-9)


def test_nothing_survives_at_the_start_and_all_behind_the_last_block():
    table = surviving(tiny_clip(depth=(4, 2)), tiny_inputs(LENGTHS))
    assert table["image"].iloc[0] == pytest.approx(0, abs=1e-5) and table["image"].iloc[4] == pytest.approx(1, abs=1e-5)
    assert table["text"].iloc[2] == pytest.approx(1, abs=1e-5) and table["text"][3:].isna().all() and len(table) == 5


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_change_nothing(batch_size, monkeypatch):
    clip, inputs = new_clip(depth=3, dtype=torch.float64), tiny_inputs(LENGTHS)
    want = surviving(clip, inputs)
    assert np.allclose(surviving(clip, inputs, batch_size), want, atol=1e-9)
    assert np.allclose(surviving(clip, tiny_inputs(LENGTHS, columns=14)), want, atol=1e-9)
    ShortMemory(monkeypatch, clip, 2)
    assert np.allclose(surviving(clip, inputs), want, atol=1e-9)


@pytest.mark.parametrize(
    "image, text, want",
    [
        ([0, 0.1, 0.4, 0.6, 1], [0, 0.2, 0.49, 0.5, 1], (2, 2)),
        ([0, 0.6, 0.4, 0.7, 1], [0, 0.9, 0.9, 0.9, 1], (2, 0)),  # the last one below half, wherever it went before
        ([0, 0.1, 0.2, 0.3, 1], [0, 0.4, 1, np.nan, np.nan], (3, 1)),
    ],
)
def test_the_last_layer_below_half_is_picked(image, text, want, monkeypatch):
    table = pd.DataFrame({"layer": range(5), "image": image, "text": text})
    monkeypatch.setattr(evidence, "surviving", lambda clip, inputs, batch_size: table)
    assert suggest_layer(tiny_clip(), tiny_inputs(LENGTHS)) == want


def test_what_is_picked_is_a_layer_of_nib():
    clip, inputs = tiny_clip(), tiny_inputs(LENGTHS)
    layers = suggest_layer(clip, inputs, batch_size=2)
    assert all(type(layer) is int for layer in layers)
    assert nk.nib(clip, inputs, layer=layers).options["layer"] == layers


def test_one_pair_has_no_mean_to_differ_from():
    with pytest.raises(ValueError, match=r"inputs must be two pairs or more \(some 30\)"):
        suggest_layer(tiny_clip(), tiny_inputs((5,)))


def test_pairs_without_evidence_are_told():
    clip, inputs = tiny_clip(), tiny_inputs((5, 5))
    same_pictures = nk.Inputs(inputs.pixel_values[[0, 0]], inputs.input_ids)
    with pytest.raises(ValueError, match="F is the same without the picture"):
        suggest_layer(clip, same_pictures)
    with pytest.raises(ValueError, match="batch_size must be"):
        suggest_layer(clip, inputs, batch_size=0)


def test_nothing_is_left_behind():
    clip = new_clip()
    clip.model.train()
    before = state(clip)
    suggest_layer(clip, tiny_inputs(LENGTHS))
    assert same(before, state(clip))


def test_on_the_bundled_model_both_are_seven_or_eight():
    clip, scenes = nk.load_clip("shapes"), nk.shapes.sample(40, 71, "all")
    inputs = clip.prepare([s.image for s in scenes], [s.caption for s in scenes])
    image, text = suggest_layer(clip, inputs)
    assert image in (7, 8) and text in (7, 8)


def test_the_docstring_says_what_was_found():
    """Its figures are the stored rows' (``data/recipes/make_faithfulness.py``)."""
    rows = nk.results("suggested_layers").query("model == 'shapes'").set_index("layer")
    (image,), (text,) = (rows.index[rows["picked"].fillna("").str.contains(side)] for side in ("image", "text"))
    assert (
        (image, text) == (8, 8) and (rows.loc[8, ["image", "text"]] < 0.5).all() and (rows.loc[9, ["image", "text"]] > 0.5).all()
    )
    assert round(rows.loc[8, "average_precision"], 2) == 0.63 and round(rows["average_precision"].max(), 2) == 0.66
    assert rows["average_precision"].idxmax() == 7
    assert rows.loc[8, "removal_image"] == pytest.approx(rows["removal_image"].max(), abs=0.006)
    assert (rows.loc[8, "present"], rows["present"].max()) == (0.95, 0.97)
    assert rows.loc[8, "removal_text"] == pytest.approx(0.39, abs=0.006) and rows["removal_text"].max() == pytest.approx(
        0.46, abs=0.006
    )
    text = " ".join(suggest_layer.__doc__.split())
    for said in (
        ".63 where the best layer, 7, has .66",
        "ρ = .85",
        "95 %, where the best layer has 97 %",
        "ρ = .39 where layer 5 has .46",
    ):
        assert said in text, said
