"""A CLIP written out in numpy, for a pair alone and without padding: it shares the weights with the model, and no code."""

import numpy as np


def linear(layer, x):
    return x @ layer.weight.numpy().T + (0 if layer.bias is None else layer.bias.numpy())


def norm(layer, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps) * layer.weight.numpy() + layer.bias.numpy()


def gelu(x):
    """CLIP's quick one."""
    return x / (1 + np.exp(-1.702 * x))


def projected(block, x):
    return [linear(getattr(block.self_attn, name), x) for name in ("q_proj", "k_proj", "v_proj")]


def weights_of(block, x, causal, heads):
    """Attention weights, a matrix [S, S] a head, row by row."""
    query, key, _ = projected(block, x)
    size, length, found = query.shape[1] // heads, len(x), []
    for h in range(heads):
        part, matrix = slice(h * size, (h + 1) * size), np.zeros((length, length))
        for i in range(length):
            seen = i + 1 if causal else length
            scores = np.exp(key[:seen, part] @ query[i, part] / np.sqrt(size))
            matrix[i, :seen] = scores / scores.sum()
        found.append(matrix)
    return found


def mixed_by(matrices, value):
    parts = np.split(value, len(matrices), axis=1)
    return np.concatenate([matrix @ part for matrix, part in zip(matrices, parts)], axis=1)


def behind(block, z, mixed):
    """The block's output, attention's product being given."""
    z = z + linear(block.self_attn.out_proj, mixed)
    return z + linear(block.mlp.fc2, gelu(linear(block.mlp.fc1, norm(block.layer_norm2, z))))


def run(block, z, causal, heads):
    x = norm(block.layer_norm1, z)
    return behind(block, z, mixed_by(weights_of(block, x, causal, heads), projected(block, x)[2]))


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


class Encoder:
    """A pair's own encoder without padding: ``z`` [S, C] enters block 0, ``read`` is the position that is read."""

    def __init__(self, clip, pair, picture):
        self.tower, self.causal = (clip.image, False) if picture else (clip.text, True)
        self.z, self.read = self.tower.embed(pair)[0].numpy(), 0 if picture else pair.input_ids.shape[1] - 1
        self.target = (clip.encode_text(pair) if picture else clip.encode_image(pair))[0].numpy()
        self.blocks, self.heads = list(self.tower.blocks), 2

    def score(self, state):
        """F of one state [C] that leaves the last block."""
        return cosine(linear(self.tower.projection, norm(self.tower.norm, state)), self.target)

    def before(self, layer):
        z = self.z
        for block in self.blocks[:layer]:
            z = run(block, z, self.causal, self.heads)
        return z
