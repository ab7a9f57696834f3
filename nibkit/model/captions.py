"""Captions made into tokens, checked before any work is done; which of them are words."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from ..checks import listed, outside


def check_captions(captions: Sequence[str], tokenizer: Any, limit: int) -> None:
    """Raise on a caption that is no text, is empty or has over ``limit`` tokens; warn of words that the model does not know."""
    for i, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise TypeError(f"caption {i} must be a string; got {type(caption).__name__}")
        try:
            caption.encode()
        except UnicodeEncodeError as error:
            half = f"a lone surrogate, {caption[error.start]!r} at position {error.start}"
            raise ValueError(f"caption {i} is no whole text ({half}): read its file as UTF-8") from error
        if not caption.strip():
            raise ValueError(f"caption {i} is empty: write what the picture should be compared with")
        body = tokenizer(caption, verbose=False)["input_ids"][1:-1]
        count = len(body) + 2
        if {tokenizer.bos_token_id, tokenizer.eos_token_id} & set(body):
            raise ValueError(f"caption {i} spells out a start or end token, which would cut it short: leave it out")
        if count > limit:
            raise ValueError(f"caption {i} has {count} tokens, the model reads at most {limit}: shorten it by {count - limit}")
        unknown, special = tokenizer.unk_token_id, {tokenizer.bos_token_id, tokenizer.eos_token_id}
        if unknown is not None and unknown not in special:
            if strange := [word for word in re.findall(r"\w+", caption) if unknown in tokenizer(word)["input_ids"]]:
                warnings.warn(f"caption {i}: this model does not know {listed(map(repr, strange))}", stacklevel=outside())


def tokenize(captions: Sequence[str], tokenizer: Any) -> tuple:
    """input_ids [B, T], attention_mask [B, T], and each caption's tokens as it spells them, with the number of their word."""
    text = tokenizer(list(captions), padding=True, return_tensors="pt", return_attention_mask=True, return_offsets_mapping=True)
    ids, mask = text["input_ids"], text["attention_mask"]
    words = tuple(tuple(text.word_ids(i)[: int(row.sum())]) for i, row in enumerate(mask))
    spans = text["offset_mapping"].tolist()
    tokens = tuple(map(_spell, captions, read_tokens(tokenizer, ids, mask), words, spans))
    return ids, mask, tokens, words


def _spell(caption: str, names: Sequence[str], words: Sequence[int | None], spans: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Each token as the caption has it. A letter that takes several tokens (é) stands at the first of them."""
    spelt, reached = [], 0
    for name, number, (begin, end) in zip(names, words, spans):
        spelt.append(name if number is None else caption[max(begin, reached) : end])
        reached = max(reached, end)
    return tuple(spelt)


def read_tokens(tokenizer: Any, ids: torch.Tensor, mask: torch.Tensor) -> tuple[tuple[str, ...], ...]:
    """The token strings of each row, without padding; the ids themselves as strings where there is no tokenizer."""
    rows = [row[keep].tolist() for row, keep in zip(ids.cpu(), mask.cpu().bool())]
    if tokenizer is None:
        return tuple(tuple(map(str, row)) for row in rows)
    return tuple(tuple(tokenizer.decode([i]).strip() or tokenizer.convert_ids_to_tokens(i) for i in row) for row in rows)


def first(chosen: torch.Tensor) -> torch.Tensor:
    """The first True of each row, [B, 1]."""
    return chosen.int().argmax(1, keepdim=True)
