"""NIB written out on one encoder: F as a function of latents, and its gradient at λz."""

import torch


def token_sums(att, pair: int = 0) -> dict[str, torch.Tensor]:
    """Each side's sums in the order of its positions: class token first."""
    return {"image": torch.cat([att.class_token[pair, None], att.image[pair].flatten()]), "text": att.text[pair]}


def sides(clip, inputs, layer: int):
    """(name, F as a function of latents, latents z) of both encoders, for inputs without padding."""
    e_image, e_text = clip.encode_image(inputs), clip.encode_text(inputs)
    for name, tower, target in (("image", clip.image, e_text), ("text", clip.text, e_image)):
        with torch.no_grad():
            z = tower.head(inputs, layer)
        yield name, lambda z, tower=tower, e=target: torch.cosine_similarity(tower.tail(z, inputs, layer), e, dim=-1), z


def slope(score, z: torch.Tensor, lam: float) -> torch.Tensor:
    """Token sums of z · ∇F(λz), [B, S]."""
    narrowed = (lam * z).requires_grad_()
    (gradient,) = torch.autograd.grad(score(narrowed).sum(), narrowed)
    return (z * gradient).sum(-1)
