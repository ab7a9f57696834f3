"""Write ``frozen.npz``: what Eq. 10 gives on a tiny CLIP, by a loop that knows nothing of nibkit.

    PYTHONPATH=tests python tests/methods/make_frozen.py

One pair at a time, without padding; one step at a time; one ``backward`` each; in float64. Only numbers are stored: weights and
inputs come again from the same seed (``helpers``), and ``weight_sum`` tells whether they did.
"""

from pathlib import Path

import numpy as np
import torch
from helpers import tiny_inputs, tiny_model

FILE = Path(__file__).with_name("frozen.npz")
LENGTHS = (6, 11, 3, 8)
SETTINGS = {"L9_n10": (9, 10), "L3_n5": (3, 5), "L0_n4": (0, 4), "L12_n3": (12, 3)}


def frozen_model():
    """12 + 12 blocks."""
    return tiny_model(seed=7, depth=12)


def frozen_inputs():
    """Four pairs, captions of different lengths."""
    return tiny_inputs(LENGTHS, seed=7)


def encode_image(model, state, layer):
    """Features of a state [1, S, C] that enters block ``layer``: the class token, normalised and projected."""
    for block in model.vision_model.encoder.layers[layer:]:
        state = block(state, None)
    return model.visual_projection(model.vision_model.post_layernorm(state[:, 0]))


def encode_text(model, state, layer):
    """The same for a caption without padding, which is read at its last token."""
    length = state.shape[1]
    mask = torch.full((length, length), -torch.inf, dtype=state.dtype).triu(1)[None, None]
    for block in model.text_model.encoder.layers[layer:]:
        state = block(state, mask)
    return model.text_projection(model.text_model.final_layer_norm(state[:, -1]))


def attribute(encode, model, z, target, layer, steps):
    """Σ over k of z · ∂cos(encode(k/n · z), target) / n, summed over channels, [S]; and the cosine at 1 less that at 0."""
    total = torch.zeros_like(z)
    for k in range(1, steps + 1):
        narrowed = (k / steps * z).detach().requires_grad_()
        torch.cosine_similarity(encode(model, narrowed, layer), target).sum().backward()
        total += z * narrowed.grad / steps
    with torch.no_grad():
        drop = torch.cosine_similarity(encode(model, z, layer), target) - torch.cosine_similarity(
            encode(model, 0 * z, layer), target
        )
    return total.sum(-1)[0].numpy(), drop.item()


def main() -> None:
    """Write the file."""
    model, inputs = frozen_model().double(), frozen_inputs()
    figures = {
        "weight_sum": sum(float(w.sum()) for w in model.parameters()),
        "pixel_sum": float(inputs.pixel_values.double().sum()),
    }
    for i, length in enumerate(LENGTHS):
        pixels, ids = inputs.pixel_values[i : i + 1].double(), inputs.input_ids[i : i + 1, :length]
        with torch.no_grad():
            vision = model.vision_model(pixels, output_hidden_states=True).hidden_states
            text = model.text_model(ids, output_hidden_states=True).hidden_states
            image_features, text_features = encode_image(model, vision[12], 12), encode_text(model, text[12], 12)
        figures[f"image_features_{i}"], figures[f"text_features_{i}"] = image_features[0].numpy(), text_features[0].numpy()
        for name, (layer, steps) in SETTINGS.items():
            sides = ("v", encode_image, vision, text_features), ("t", encode_text, text, image_features)
            for side, encode, states, target in sides:
                sums, drop = attribute(encode, model, states[layer], target, layer, steps)
                figures[f"{side}_{name}_{i}"], figures[f"{side}_{name}_drop_{i}"] = sums, drop
    np.savez_compressed(FILE, **figures)
    print(f"{FILE.name}: {len(figures)} arrays, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
