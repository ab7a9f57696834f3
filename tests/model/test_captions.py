"""Tokens and words line up with the caption in every script, under the real tokenizer's rules."""

import functools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

import nibkit as nk
from nibkit.model.captions import check_captions, tokenize, word_spans


@functools.cache
def tokenizer() -> CLIPTokenizer:
    """CLIP's own rules (composing, lower case, its cuts into pieces), with bytes for tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[])


def read(caption: str) -> tuple[list[str], list[str]]:
    """(the tokens, the words) of a caption, as they are spelt."""
    _, _, (tokens,), (numbers,) = tokenize([caption], tokenizer())
    words: dict[int, str] = {}
    for token, number in zip(tokens, numbers):
        if number is not None:
            words[number] = words.get(number, "") + token
    assert list(words) == list(range(len(words))) and numbers[0] is numbers[-1] is None
    return list(tokens[1:-1]), list(words.values())


@pytest.mark.parametrize(
    "caption",
    [
        "in 2024 a ring",
        "a caf\u00e9 ring",
        "a cafe\u0301 ring",
        "vie\u0302\u0323t x\u0302y",
        "İstanbul ISTANBUL",
        "ẞ straße",
        "كلب أحمر",
        "قُرْآن كريم",
        "שָׁלוֹם world",
        "कुत्ता और बिल्ली",
        "สุนัข ตัว",
        "红色的狗 と 犬",
        "한국어 \u1112\u1161\u11ab",
        "don't dog’s 3.5 1,000 abc123 x²",
        "👩\u200d🔬 ring",
    ],
)
def test_words_are_those_of_the_caption(caption):
    tokens, words = read(caption)
    assert words == caption.split() and "".join(tokens) == "".join(words)


def test_signs_are_no_part_of_a_word():
    assert read("a dog, a t-shirt (2024).")[1] == ["a", "dog", ",", "a", "t", "-", "shirt", "(", "2024", ")."]
    assert read("'tis dogs' 5. 1,2,a")[1] == ["'tis", "dogs", "'", "5", ".", "1,2", ",", "a"]


def test_a_letter_of_several_tokens_stands_at_the_first_with_its_accents():
    assert read("cafe\u0301 İ")[0] == ["c", "a", "f", "e\u0301", "", "İ", "", ""]
    assert read("क")[0] == ["क", "", ""]


SCRIPTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@given(SCRIPTS.filter(str.strip))
@example("e\u0301\u0302 \u0301")
@example("\ufb01 \ufeffa \u200b")
@example("A\u030aB\u0327\u0307c")
def test_tokens_spell_the_whole_caption(caption):
    tokens, words = read(caption)
    assert "".join(tokens) == "".join(words) == "".join(caption.split()) and all(words)


def test_word_spans():
    caption = "a dog’s 3.5, e\u0301!"
    assert [caption[begin:end] for begin, end in word_spans(caption)] == ["a", "dog’s", "3.5", "e\u0301"]


def test_unknown_words_are_named_whole():
    clip = nk.load_clip("shapes", device="cpu")
    with pytest.warns(UserWarning, match="does not know 'कुत्ता', 'cafe\u0301', '2024', \"don't\"$"):
        inputs = clip.prepare(nk.shapes.sample(1, 0)[0].image, "कुत्ता cafe\u0301 2024 don't ring")
    words = [word for word, _ in nk.nib(clip, inputs, num_steps=1).words_of(0)]
    assert words == ["कुत्ता", "cafe\u0301", "2024", "don't", "ring"]


def test_a_tokenizer_that_fails_is_told_with_the_caption():
    """As one of a damaged tokenizer.json does, whose library raises a bare Exception."""

    class Broken:
        bos_token_id, eos_token_id, unk_token_id = 0, 1, None
        calls = 0

        def __call__(self, caption, verbose=False):
            self.calls += 1
            if self.calls == 1:
                return {"input_ids": [0, 5, 1]}
            raise Exception("Unk token `<unk>` not found in the vocabulary")

    with pytest.raises(ValueError, match=r"caption 1 can't be tokenised \(Exception: Unk token .*\): the tokenizer is damaged"):
        check_captions(["a ring"] * 2, Broken(), 77)


def test_memory_that_is_full_is_no_fault_of_the_tokenizer():
    def full(*_, **__):
        raise MemoryError

    with pytest.raises(MemoryError):
        check_captions(["a red heart"], full, 77)
