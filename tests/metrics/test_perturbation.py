"""Max-sensitivity and infidelity: their formulas written out pair by pair in float64."""

import functools

import numpy as np
import pytest
import torch
from helpers import new_clip, own_similarity, same, state, tiny_clip, tiny_inputs
from torch.nn import functional as nnf

import nibkit as nk
from nibkit.methods import controls
from nibkit.metrics.perturbation import between, errors, infidelity, max_sensitivity

LENGTHS = (5, 8, 3)


def wide(lengths=LENGTHS) -> tuple[nk.Clip, nk.Inputs]:
    return tiny_clip(dtype=torch.float64), tiny_inputs(lengths).to(dtype=torch.float64)


# --- max-sensitivity ----------------------------------------------------------------------------------------------------------


def test_max_sensitivity_written_out():
    clip, inputs = wide()
    found = max_sensitivity(clip, inputs, nk.nib, radius=0.3, draws=4, seed=6)
    generator = np.random.default_rng(6)
    noises = [torch.from_numpy(generator.uniform(-0.3, 0.3, (3, 48, 48))) for _ in range(4)]
    for i in range(3):
        one, want = inputs[[i]], {"image": [], "text": []}
        before = nk.nib(clip, one)
        for noise in noises:
            after = nk.nib(clip, nk.Inputs(one.pixel_values + noise, one.input_ids, one.attention_mask))
            for side, ratios in want.items():
                a, b = getattr(before, side).flatten(), getattr(after, side).flatten()
                ratios.append(float(((a - b) ** 2).sum().sqrt() / (a**2).sum().sqrt()))
        for side, ratios in want.items():
            assert found[side][i] == pytest.approx(max(ratios), rel=1e-6) and min(ratios) < max(ratios)


def test_more_draws_only_raise_it_and_smaller_steps_lower_it():
    clip, inputs = tiny_clip(), tiny_inputs(LENGTHS)
    few, many = (max_sensitivity(clip, inputs, nk.gradcam, draws=n) for n in (2, 5))
    assert (many >= few - 1e-7).all(axis=None)
    assert (max_sensitivity(clip, inputs, nk.nib, radius=0.01)["image"] < max_sensitivity(clip, inputs, nk.nib)["image"]).all()


def test_a_map_that_never_moves_has_none_and_one_of_zeros_no_share():
    clip, inputs = tiny_clip(), tiny_inputs(LENGTHS)
    assert (max_sensitivity(clip, inputs, controls.ones_map, draws=2) == 0).all(axis=None)
    empty = lambda clip, inputs: controls._attribution(  # noqa: E731
        nk.Attribution, clip, inputs, torch.zeros(3, 3, 3), torch.ones(inputs.input_ids.shape), "empty"
    )
    found = max_sensitivity(clip, inputs, empty, draws=2)
    assert found["image"].isna().all() and (found["text"] == 0).all()


def test_a_pairs_sensitivity_is_its_own_and_the_model_stays():
    clip, inputs = new_clip(), tiny_inputs(LENGTHS)
    before = state(clip)
    all_three = max_sensitivity(clip, inputs, nk.nib, draws=2)
    assert np.allclose(max_sensitivity(clip, inputs[[1]], nk.nib, draws=2), all_three[1:2], rtol=1e-3)
    assert same(before, state(clip))
    assert not np.allclose(max_sensitivity(clip, inputs, nk.nib, draws=2, seed=1), all_three)


@pytest.mark.parametrize(
    "options, message",
    [(dict(radius=0), "radius must be"), (dict(draws=0), "draws must be a whole number"), (dict(seed=-1), "seed must be")],
)
def test_sensitivity_refuses(options, message):
    with nk.count_passes(tiny_clip()) as passes, pytest.raises(ValueError, match=message):
        max_sensitivity(tiny_clip(), tiny_inputs(LENGTHS), nk.nib, **options)
    assert passes.forward == 0


# --- infidelity ---------------------------------------------------------------------------------------------------------------


def without_patches(inputs: nk.Inputs, i: int, square: np.ndarray) -> torch.Tensor:
    pixels = inputs.pixel_values[[i]].clone()
    for y, x in zip(*square.nonzero()):
        pixels[0, :, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16] = 0
    return pixels


def without_words(clip: nk.Clip, ids: torch.Tensor, gone: np.ndarray) -> torch.Tensor:
    """The caption's features where these positions' rows of the embedding table are 0."""
    rows = torch.from_numpy(~gone).double()[None, :, None]
    hook = clip.model.text_model.embeddings.token_embedding.register_forward_hook(lambda m, args, output: output * rows)
    with torch.no_grad():
        output = clip.model.get_text_features(input_ids=ids[None])
    hook.remove()
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def test_infidelity_written_out():
    clip, inputs = new_clip(dtype=torch.float64), wide()[1]
    maps = {"nib": nk.nib(clip, inputs), "gradcam": nk.gradcam(clip, inputs)}
    found = infidelity(clip, inputs, maps, draws=7, seed=2, batch_size=5).set_index(["map", "pair", "side"])
    ends = np.random.default_rng(2).random((7, 3, 2))
    whole = own_similarity(clip, inputs)
    with torch.no_grad():
        output = clip.model(inputs.input_ids, inputs.pixel_values, inputs.attention_mask)
    for i in range(3):
        length = int(inputs.attention_mask[i].sum())
        ids = inputs.input_ids[i, :length]
        lost, sums = {"image": [], "text": []}, {(name, side): [] for name in maps for side in ("image", "text")}
        for row, column, word in ends:
            square, gone = np.zeros((3, 3), bool), np.zeros(length, bool)
            (y, y2), (x, x2), (t, t2) = (
                sorted(int(u * n) for u in pair) for pair, n in ((row, 3), (column, 3), (word, length - 2))
            )
            square[y : y2 + 1, x : x2 + 1] = gone[1 + t : 1 + t2 + 1] = True
            after = own_similarity(clip, nk.Inputs(without_patches(inputs, i, square), ids[None]))
            lost["image"].append(float(whole[i] - after[0]))
            features = without_words(clip, ids, gone)
            lost["text"].append(float(whole[i] - nnf.cosine_similarity(features[0], output.image_embeds[i], dim=0)))
            for name, att in maps.items():
                sums[name, "image"].append(float(att.image[i][torch.from_numpy(square)].sum()))
                sums[name, "text"].append(float(att.text[i, :length][torch.from_numpy(gone)].sum()))
        for (name, side), own in sums.items():
            a, b = np.array(own), np.array(lost[side])
            row = found.loc[(name, i, side)]
            assert row["infidelity"] == pytest.approx(((a - b) ** 2).mean(), rel=1e-7)
            best = min(((beta * a - b) ** 2).mean() for beta in [0, max(0, (a * b).sum() / (a * a).sum() if a.any() else 0)])
            assert row["unexplained"] == pytest.approx(best / (b**2).mean(), rel=1e-7)


def test_errors_by_hand():
    lost = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 1.0], [0.0, 0.0]])
    sums = np.array([[3.0, 6.0], [-1.0, -2.0], [0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    infidelity_of, unexplained = errors(sums, lost)
    assert infidelity_of.tolist() == [10, 10, 2.5, 0.5, 2.5]
    assert unexplained[:4] == pytest.approx([0, 1, 1, 0.5]) and np.isnan(unexplained[4])


@pytest.mark.parametrize("length", [1, 2, 7])
def test_runs_have_both_ends_and_every_place_is_met(length):
    runs = between(np.random.default_rng(0).random((400, 2)), length)
    assert runs.any(1).all() and runs.all(1).any() and runs.any(0).all()
    assert (np.abs(np.diff(np.pad(runs, ((0, 0), (1, 1))).astype(int))).sum(1) == 2).all()  # one piece
    middle = runs.mean(0)
    assert middle[length // 2] >= middle[0] - 0.05


def test_a_complete_linear_model_is_explained_to_the_last_digit():
    """Where F is a sum of its parts, the sums say all: unexplained 0; and scaled maps count alike."""
    lost = np.random.default_rng(1).standard_normal((4, 30))
    assert np.allclose(errors(lost, lost), 0) and np.allclose(errors(5 * lost, lost)[1], 0)
    assert np.allclose(errors(-lost, lost)[1], 1)


def test_a_pairs_infidelity_is_its_own_and_the_model_stays():
    clip, inputs = new_clip(), tiny_inputs(LENGTHS)
    before, att = state(clip), nk.nib(clip, inputs)
    table = infidelity(clip, inputs, att, draws=5)
    assert set(table["map"]) == {"map"} and len(table) == 6
    alone = infidelity(clip, inputs[[1]], att[[1]], draws=5)
    want = table[table["pair"] == 1].drop(columns="pair").reset_index(drop=True)
    assert np.allclose(alone[["infidelity", "unexplained"]], want[["infidelity", "unexplained"]], rtol=1e-3)
    assert same(before, state(clip))


def test_infidelity_refuses():
    clip, inputs = tiny_clip(), tiny_inputs(LENGTHS)
    att = nk.nib(clip, inputs)
    check = functools.partial(infidelity, clip, inputs)
    with pytest.raises(ValueError, match="draws must be a whole number"):
        check(att, draws=0)
    with pytest.raises(ValueError, match="seed must be"):
        check(att, seed="a")
    with pytest.raises(ValueError, match="att explains 2 pairs, inputs have 3"):
        check({"nib": att, "other": att[:2]})
