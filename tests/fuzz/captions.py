"""Captions of any text, and of what is none."""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import nibkit as nk

from .cases import Case, Fault, check_equal, check_finite

WORDS = ["a", "red", "ring", "and", "blue", "heart", "dog", "2024", "3.5", "don't", "ﬁne", "İstanbul", "ß", "e\u0301", "日本",
         "किताब", "مرحبا بالعالم", "שלום", "🙂", "👩‍👩‍👧", "&amp;", "</w>", "$x^2$", "%s", "\\n", "'", '"', "“q”", "_",
         "\u200d", "\ufeff", "\u202e", "\u2028", "\x07", "\t", "\n", "\r\n", "\u00a0", "\ufffd", "\U0010ffff", "ǅ", "Ⅷ", "²",
         "½", "a\u0300\u0301"]  # fmt: skip
HOSTILE = ["<|endoftext|>", "<|startoftext|>", "\x00", "\x1b[31m", "x" * 300, "red " * 90, "a\u0300" * 40, "\ud83d", "\udce9"]


def draw_caption(case: Case) -> str:
    """Words, letters of all Unicode, or both; some empty, very long, with half characters."""
    kind = case.one("words", "words", "words", "letters", "one block", "empty", "long", "mixed")
    if kind == "empty":
        return case.one("", " ", "\t\n", "\u3000", "\u200b", "\ufeff", "\x00")
    if kind == "long":
        return case.one("red ring ", "é", "日", "🙂", "a") * case.whole(10, 5000)
    words = [case.one(*WORDS) for _ in range(case.whole(1, 9))] + [case.one(*HOSTILE)] * case.chance(0.15)
    if kind == "words":
        return case.one(" ", " ", "", ", ").join(words)
    top = sys.maxunicode if kind != "one block" else (block := case.whole(0, 0x2FF) << 7) + 127
    low = 0 if kind != "one block" else block
    letters = "".join(chr(case.whole(low, top)) for _ in range(case.whole(1, 30)))
    if not case.chance(0.1):  # half characters in some alone: they are refused
        letters = "".join(letter for letter in letters if unicodedata.category(letter) != "Cs")
    return letters if kind != "mixed" else f"{letters} {' '.join(words)}"


def draw_no_caption(case: Case) -> Any:
    return case.one(None, 3, b"a red ring", [], [["a"]], ["a", "b"], {"caption": "a"}, object(), 2.5, True, ("a", None),
                    iter(["a"]))  # fmt: skip


def squeezed(text: str) -> str:
    """Without white space, as ``str.split`` knows it."""
    return "".join(text.split())


def a_caption(case: Case) -> str:
    """Prepare it, alone and in a batch; its tokens spell it; sometimes explain and draw it."""
    clip, picture = case.world.clip, case.world.picture
    caption = draw_no_caption(case) if case.chance(0.05) else draw_caption(case)
    alone, error = case.ask(lambda: clip.prepare(picture, caption))
    if error is not None:
        if isinstance(caption, str) and "caption" not in str(error):
            raise Fault(f"the message does not name the caption: {error}") from error
        return "refused"
    if not isinstance(caption, str):
        caption = next(iter(caption)) if isinstance(caption, (list, tuple)) else "a"
    batch, _ = case.ask(lambda: clip.prepare([picture, picture], ["a blue heart and a ring", caption]), refused=False)
    length = alone.input_ids.shape[1]
    check_equal("a caption in a batch", batch.input_ids[1:, :length].float(), alone.input_ids.float(), 0)
    tokens, words = alone.tokens[0], alone.words[0]
    if len(tokens) != int(alone.attention_mask.sum()) or len(words) != len(tokens):
        raise Fault(f"{len(tokens)} token strings and {len(words)} words for {int(alone.attention_mask.sum())} tokens")
    if squeezed("".join(tokens[1:-1])) != squeezed(caption):
        raise Fault(f"the tokens spell {''.join(tokens[1:-1])!r} for {caption!r}")
    numbers = [number for number in words if number is not None]
    if numbers != sorted(numbers) or (numbers and set(numbers) != set(range(numbers[-1] + 1))):
        raise Fault(f"the words are numbered {words}")
    if case.chance(0.4):
        return "taken"
    att, error = case.ask(lambda: nk.nib(clip, batch, num_steps=1))
    if error is not None:
        raise Fault(f"prepared, but not explained: {error}") from error
    check_finite("a map", att.image, att.text, att.similarity)
    single, _ = case.ask(lambda: nk.nib(clip, alone, num_steps=1), refused=False)
    check_equal("a caption's map in a batch", att.text[1:, :length], single.text, 1e-4)
    shown, _ = case.ask(lambda: single.words_of(0), refused=False)
    if squeezed("".join(word for word, _ in shown)) != squeezed(caption):
        raise Fault(f"the words spell {shown!r} for {caption!r}")
    case.ask(lambda: nk.confidence(clip, batch, att), refused=len(numbers) > 0)
    if case.chance(0.25):
        from matplotlib import pyplot as plt

        figure, _ = case.ask(lambda: nk.plots.explain(picture, single, title=caption), refused=False)
        case.ask(lambda: figure.savefig("figure.png"), refused=False)
        plt.close("all")
        case.ask(lambda: nk.plots.words_html(single)._repr_html_(), refused=False)
        return "drawn"
    return "explained"
