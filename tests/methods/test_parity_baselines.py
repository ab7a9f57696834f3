"""The baselines as the NIB authors' code computes them, for a tiny CLIP. Skipped where that fixture is not at hand."""

import numpy as np
import pytest

import nibkit as nk

METHODS = ("chefer", "saliency", "fastig", "gradcam", "mfaba")


def scaled(values: np.ndarray) -> np.ndarray:
    """Min–max; zeros where all is the same (Grad-CAM's relu can do that)."""
    return (values - values.min()) / max(values.max() - values.min(), np.finfo(np.float32).tiny)


def differences(att, figures, name: str) -> tuple[float, float]:
    """The largest difference from the published maps, of pictures (every 16th pixel) and of captions, all min–max scaled."""
    of_images = np.abs(att.heatmap().cpu().numpy()[:, ::16, ::16] - figures[f"{name}_v"]).max()
    texts = [(att.text[i, : len(figures[f"ids_{i}"])].cpu().numpy(), figures[f"{name}_t_{i}"]) for i in range(6)]
    return float(of_images), max(float(np.abs(scaled(ours) - theirs).max()) for ours, theirs in texts)


@pytest.mark.parametrize("name", METHODS)
def test_paper_variants_are_the_published_ones(fixture_clip, fixture_inputs, figures, name):
    of_images, of_texts = differences(getattr(nk, name)(fixture_clip, fixture_inputs), figures, name)
    assert of_images < 1e-3 and of_texts < 1e-3, (of_images, of_texts)


@pytest.mark.parametrize("name", METHODS)
def test_original_variants_are_not(fixture_clip, fixture_inputs, figures, name):
    """What the NIB authors' code computes under a method's name is not what the method's own authors published."""
    more = {"distractors": fixture_inputs, "num_steps": 3} if name == "mfaba" else {}
    of_images, of_texts = differences(getattr(nk, name)(fixture_clip, fixture_inputs, variant="original", **more), figures, name)
    assert of_images > 0.1 and of_texts > 0.1, (of_images, of_texts)


def test_gradcam_looks_one_layer_behind_nibs_cut(fixture_clip, fixture_inputs, figures):
    """Their "layer 9" is block 9's output for Grad-CAM, block 9's input for NIB: at block 8 the maps are others."""
    assert max(differences(nk.gradcam(fixture_clip, fixture_inputs, layer=8), figures, "gradcam")) > 1e-2


def test_mfaba_moves_the_table_not_each_place(fixture_clip, fixture_inputs, figures):
    """Their two places of one token have one value."""
    ids, theirs = figures["ids_3"], figures["mfaba_t_3"]
    first, second = np.flatnonzero(ids == 509)
    ours = nk.mfaba(fixture_clip, fixture_inputs).text[3]
    assert theirs[first] == theirs[second] and float(ours[first]) == float(ours[second])
