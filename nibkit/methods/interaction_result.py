"""What ``interactions`` returns: how much each patch and each word counted together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from ..checks import check_choice, check_whole, is_whole, listed
from ..model.views import Views
from .attribution import Attribution, Result

Phrase = str | Sequence[int]  # words of the caption, or positions of tokens


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(Result):
    """Signed importances of each patch *with* each token, for B pairs, in units of cosine similarity.

    With the parts that met no word, or no patch, they add up to the similarity F(z) of picture and caption,

        Σ_ij values + Σ_j class_token + Σ_i null_caption + class_null + Σ_j null_picture + null = similarity,

    and a patch's row and a token's column add up to what ``nib`` gives it by the same rule:

        values.sum(-1) + null_caption = nib's image,    values.sum((1, 2)) + class_token + null_picture = nib's text.

    Args:
        values: [B, gh, gw, T], A_ij = J_i · K_j of patch i and token j; 0 at padding.
        class_token: [B, T], the class token's own with each token.
        null_caption: [B, gh, gw], what of a patch's importance met no word: J_i · (ĥ(t) − Σ_j K_j), which is J_i · ĥ(start · t)
            where the sum over λ is complete. class_null: [B], the class token's.
        null_picture: [B, T], what of a word's importance met no patch: likewise, (ĝ(z) − Σ_i J_i) · K_j.
        null: [B], (ĝ(z) − Σ_i J_i) · (ĥ(t) − Σ_j K_j).
        delta: [B], Σ_ij A_ij − (ĝ(z) − ĝ(start · z)) · (ĥ(t) − ĥ(start · t)), class token included: how far from complete.
        similarity, tokens, words, views, options: as in ``Attribution``.
    """

    values: torch.Tensor
    class_token: torch.Tensor
    null_caption: torch.Tensor
    class_null: torch.Tensor
    null_picture: torch.Tensor
    null: torch.Tensor
    delta: torch.Tensor
    similarity: torch.Tensor
    tokens: tuple[tuple[str, ...], ...]
    words: tuple[tuple[int | None, ...], ...] | None = None
    views: Views | None = None
    options: dict | None = None

    def __repr__(self) -> str:
        (count, height, width, tokens), like = self.values.shape, self.values
        sizes = f"{count} pair{'s' * (count > 1)}, {height} × {width} patches × {tokens} tokens"
        return f"{type(self).__name__}({sizes}, {like.dtype}, {like.device})"

    def phrase(self, pair: int, phrase: Phrase) -> torch.Tensor:
        """The map [gh, gw] of some words of a pair's caption together: the sum of their tokens' maps.

        phrase: words that stand one behind the other in it, such as "a red circle", in any case; or positions of tokens.
        Raises ValueError where they don't, or where they stand more than once, and on a position that holds no token.
        """
        return self.values[check_pair(self, pair)][..., self.positions(pair, phrase)].sum(-1)

    def phrases(self, pair: int, phrases: Sequence[Phrase] | None = None) -> Attribution:
        """One pair's map split by phrases, as an ``Attribution`` that has a row for each of these P phrases.

        phrases: see ``phrase``; None: each word of the caption. ``image`` [P, gh, gw]: their maps; ``text`` [P, T]: what their
        tokens have with all patches and the class token, 0 elsewhere; ``class_token`` [P]. Errors as of ``phrase``.
        """
        pair = check_pair(self, pair)
        chosen = self.word_places(pair) if phrases is None else [self.positions(pair, phrase) for phrase in phrases]
        if not chosen:
            raise ValueError("phrases is empty: give one phrase of the caption at least, or None for each of its words")
        columns = self.values[pair].sum((0, 1)) + self.class_token[pair]
        text = columns.new_zeros(len(chosen), len(columns))
        for row, places in enumerate(chosen):
            text[row, places] = columns[places]
        return Attribution(
            image=torch.stack([self.values[pair][..., places].sum(-1) for places in chosen]),
            text=text,
            tokens=(self.tokens[pair],) * len(chosen),
            similarity=self.similarity[pair].expand(len(chosen)),
            class_token=torch.stack([self.class_token[pair, places].sum() for places in chosen]),
            words=self.words and (self.words[pair],) * len(chosen),
            views=self.views and (self.views[pair],) * len(chosen),
            method="interactions",
            options=self.options,
        )

    def heatmap(
        self,
        pair: int,
        phrases: Sequence[Phrase] | None = None,
        size: int | tuple[int, int] = 224,
        normalize: str | None = "signed",
    ) -> torch.Tensor:
        """The phrases' maps brought to the picture's size: float [P, size, size], bilinear (align_corners=False).

        normalize: "signed": ÷ the largest |value| of *all* of them, so that they can be compared; None: as they are.
        Raises ValueError on an unknown normalize, and what ``phrases`` raises.
        """
        check_choice("normalize", normalize, ("signed",), optional=True)
        maps = self.phrases(pair, phrases).heatmap(size, normalize=None)
        return maps if normalize is None else maps / maps.abs().max().clamp_min(torch.finfo(maps.dtype).tiny)

    def word_table(self, pair: int) -> pd.DataFrame:
        """A row for each word of a pair's caption, in its order: what it has with the patches, with the class token, and with no
        patch, and their sum, which is its importance by ``nib``."""
        pair = check_pair(self, pair)
        of_patches, of_class = self.values[pair].sum((0, 1)), self.class_token[pair]
        parts = {"patches": of_patches, "class token": of_class, "no patch": self.null_picture[pair]}
        words = self.word_positions(pair)
        rows = [{name: float(part[places].sum()) for name, part in parts.items()} for _, places in words]
        table = pd.DataFrame(rows, index=pd.Index([word for word, _ in words], name="word"), columns=list(parts))
        return table.assign(**{"all": table.sum(axis=1)})

    def word_places(self, pair: int) -> list[list[int]]:
        """The positions of each word's tokens."""
        return [places for _, places in self.word_positions(pair)]

    def positions(self, pair: int, phrase: Phrase) -> list[int]:
        """The positions of a phrase's tokens in a pair's caption; ValueError as of ``phrase``."""
        pair = check_pair(self, pair)
        words, count = self.word_positions(pair), len(self.tokens[pair])
        if not isinstance(phrase, str):
            places = list(phrase)
            known = all(is_whole(place) and 0 <= place < count for place in places)
            if not places or not known or len(set(places)) < len(places):
                raise ValueError(f"a phrase's positions must be different whole numbers within 0 … {count - 1}; got {places!r}")
            return [int(place) for place in places]
        wanted, found = "".join(phrase.casefold().split()), []
        for first in range(len(words)):
            for behind in range(first + 1, len(words) + 1):
                if "".join(word for word, _ in words[first:behind]).casefold() == wanted:
                    found.append([place for _, places in words[first:behind] for place in places])
        if len(found) != 1:
            many = f"more than once in caption {pair}: give the positions of one, {' or '.join(map(str, found))}"
            none = f"not in caption {pair}, whose words are {listed((word for word, _ in words), 20)}"
            raise ValueError(f"the phrase {phrase!r} stands {many if found else none}")
        return found[0]


def check_pair(found: Interactions, pair: object) -> int:
    """The number of a pair, 0 … B − 1; ValueError if it is none."""
    return check_whole("pair", pair, 0, len(found) - 1)
