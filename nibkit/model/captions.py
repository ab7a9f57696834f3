"""Captions made into tokens, checked before any work is done; which of them are words.

Tokens come from the tokenizer given, transformers' CLIPTokenizer. It differs from OpenAI's own in one step. OpenAI's cleans a
caption first (``ftfy`` and ``html.unescape``: ’ becomes ', “ becomes ", the ligature ﬁ becomes fi, &amp; becomes &); that of
transformers only composes letters and accents (NFC), joins white space and lowers the case. Where a caption has such characters,
clean it yourself to have OpenAI's tokens.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from ..checks import listed, one_line, outside

WORD = re.compile(r"[xd]+(?:['’][xd]+|(?<=d)[.,]d+)*")  # of letters (x) and digits (d): see ``word_spans``


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
        try:
            body = tokenizer(caption, verbose=False)["input_ids"][1:-1]
        except MemoryError:  # no fault of the tokenizer's
            raise
        except Exception as error:  # the tokenizers library raises whatever it stumbles over
            raise ValueError(
                f"caption {i} can't be tokenised ({one_line(error, named=True)}): the tokenizer is damaged, save it again"
            ) from error
        count = len(body) + 2
        if {tokenizer.bos_token_id, tokenizer.eos_token_id} & set(body):
            raise ValueError(f"caption {i} spells out a start or end token, which would cut it short: leave it out")
        if count > limit:
            raise ValueError(f"caption {i} has {count} tokens, the model reads at most {limit}: shorten it by {count - limit}")
        unknown, special = tokenizer.unk_token_id, {tokenizer.bos_token_id, tokenizer.eos_token_id}
        if unknown is not None and unknown not in special:
            words = [caption[begin:end] for begin, end in word_spans(caption)]
            words = [word for word in words if any(map(str.isalnum, word))]  # no emoji's selectors and joiners, which nobody sees
            if strange := [word for word in words if unknown in tokenizer(word)["input_ids"]]:
                warnings.warn(f"caption {i}: this model does not know {listed(map(repr, strange))}", stacklevel=outside())


def tokenize(captions: Sequence[str], tokenizer: Any) -> tuple:
    """input_ids [B, T], attention_mask [B, T], and each caption's tokens as it spells them, with the number of their word."""
    text = tokenizer(list(captions), padding=True, return_tensors="pt", return_attention_mask=True, return_offsets_mapping=True)
    ids, mask = text["input_ids"], text["attention_mask"]
    pieces = [text.word_ids(i)[: int(row.sum())] for i, row in enumerate(mask)]
    spelt = map(_spell, captions, read_tokens(tokenizer, ids, mask), pieces, text["offset_mapping"].tolist())
    tokens, words = zip(*spelt)
    return ids, mask, tokens, words


def _spell(
    caption: str, names: Sequence[str], pieces: Sequence[int | None], spans: Sequence[Sequence[int]]
) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    """(each token as the caption has it, the number of its word; None at start and end tokens).

    Together the tokens spell the whole caption, white space left out. A letter that takes several tokens stands at the first of
    them, with the accents that belong to it. The tokenizer's pieces of one word (2024 is four, किताब is five) count as one.
    """
    begins = [begin for piece, (begin, _) in zip(pieces, spans) if piece is not None] + [len(caption)]
    joints = {place for begin, end in word_spans(caption) for place in range(begin + 1, end)}  # between letters of one word
    tokens: list[str] = []
    words: list[int | None] = []
    reached, number, last = 0, -1, None
    for name, piece, (begin, end) in zip(names, pieces, spans):
        if piece is None:
            tokens.append(name)
            words.append(None)
            continue
        behind = begins[bisect.bisect_left(begins, end)]  # where the next letter begins: what lies between has no token
        tokens.append(caption[max(begin, reached) : end] + caption[max(end, reached) : behind].strip())
        number += piece != last and begin >= reached and begin not in joints
        words.append(max(number, 0))
        reached, last = max(reached, behind), piece
    return tuple(tokens), tuple(words)


def word_spans(caption: str) -> list[tuple[int, int]]:
    """Where the words stand: (begin, end) of each run of letters, their accents and digits, in any script.

    An apostrophe within a word (don't) and a point or comma within a number (3.5) belong to it.
    """
    kinds = {"L": "x", "M": "x", "N": "d"}
    joiners = "\u200c\u200d"
    shape = "".join("x" if c in joiners else kinds.get(unicodedata.category(c)[0], c) for c in caption)
    return [match.span() for match in WORD.finditer(shape)]


def read_tokens(tokenizer: Any, ids: torch.Tensor, mask: torch.Tensor) -> tuple[tuple[str, ...], ...]:
    """The token strings of each row, without padding; the ids themselves as strings where there is no tokenizer."""
    rows = [row[keep].tolist() for row, keep in zip(ids.cpu(), mask.cpu().bool())]
    if tokenizer is None:
        return tuple(tuple(map(str, row)) for row in rows)
    return tuple(tuple(tokenizer.decode([i]).strip() or tokenizer.convert_ids_to_tokens(i) for i in row) for row in rows)


def first(chosen: torch.Tensor) -> torch.Tensor:
    """The first True of each row, [B, 1]."""
    return chosen.int().argmax(1, keepdim=True)
