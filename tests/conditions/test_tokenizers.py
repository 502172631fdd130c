"""Texts to tokens: against the published codes' numbers, on small tables of their own, and what is refused or cut."""

import functools
import gzip
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import logging
from jaxtyping import TypeCheckError

from conditions.byte_pairs import Pieces
from conditions.published_tokenizers import CLIPTokenizer, GLIDETokenizer, OpenAITokenizer
from conditions.tokenizers import check_texts
from conditions.word_tokenizer import WordTokenizer

REFERENCE = Path(__file__).parents[1] / "reference"
TINY, MINI = REFERENCE / "latent" / "tokenizer", REFERENCE / "glide_clip" / "tokens_mini.json"


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"the package {', '.join(missing)} is not installed")


bytes_ = needs("tokenizers")
WORDS = ("a", "small", "red", "three", "above")


@functools.cache
def tiny() -> CLIPTokenizer:
    return CLIPTokenizer.in_folder(TINY)


@functools.cache
def mini() -> dict:
    return json.loads(MINI.read_text())


def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    return lines


def ids_of(tokenizer, text: str) -> list[int]:
    """Start, tokens and end of a text, cut as `encode` cuts it; not padded."""
    ids, mask = tokenizer.encode([text])
    assert mask[0].tolist() == sorted(mask[0].tolist(), reverse=True)
    assert set(ids[0][~mask[0]]) <= {tokenizer.padding}
    return ids[0][mask[0]].tolist()


@bytes_
def test_clips_is_that_of_transformers():
    recorded = json.loads((TINY / "ids.json").read_text())
    assert len(recorded["hf5"]) == 68
    for row in recorded["hf5"]:
        assert ids_of(tiny(), row["text"]) == row["ids"], row["text"]
    padded = tiny().encode([row["text"] for row in recorded["hf5"][:8]]).ids
    assert padded.dtype == np.int32
    np.testing.assert_array_equal(padded, recorded["padded_hf5_first8"])
    assert (tiny().size, tiny().length) == (774, 77)


@bytes_
def test_glides_is_its_own():
    given = mini()["glide"]
    merges = [tuple(pair) for pair in given["merges"]]
    pieces = [*(piece for _, piece in mini()["byte_order"]), *map("".join, merges), "<|endoftext|>"]
    table = Pieces({piece: number for number, piece in enumerate(pieces)}, merges)
    tokenizer = GLIDETokenizer.of_pieces(table, given["context"])
    texts = [row["prompt"] for row in mini()["prompts"]]
    ids, mask = tokenizer.encode(texts)
    np.testing.assert_array_equal(ids, [row["glide_padded"] for row in mini()["prompts"]])
    np.testing.assert_array_equal(mask, [row["glide_mask"] for row in mini()["prompts"]])
    for row in mini()["prompts"]:
        assert tokenizer.read(row["prompt"]).ids == row["glide"], row["prompt"]
    assert tokenizer.size == given["n_vocab"]


@needs("tokenizers", "ftfy")
def test_openais_is_that_of_glides_clip():
    given = mini()["clip"]
    pieces = Pieces.of_merges([tuple(pair) for pair in given["merges"]])
    tokenizer = OpenAITokenizer.of_pieces(pieces, given["context"])
    assert (tokenizer.start, tokenizer.end) == (given["start_token"], given["end_token"])
    ids, mask = tokenizer.encode([row["prompt"] for row in mini()["prompts"]])
    np.testing.assert_array_equal(ids, [row["clip_padded"] for row in mini()["prompts"]])
    np.testing.assert_array_equal(mask.sum(axis=1), [row["clip_len"] for row in mini()["prompts"]])
    for row in mini()["prompts"]:
        assert tokenizer.read(row["prompt"]).ids == row["clip"], row["prompt"]


@bytes_
def test_a_table_of_openais_file_is_that_of_its_merges(tmp_path):
    merges = [tuple(pair) for pair in mini()["clip"]["merges"]]
    lines = ['"bpe_simple_vocab_16e6.txt#version: 0.2', *map(" ".join, merges), ""]
    (tmp_path / "bpe.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert Pieces.of_openai(tmp_path / "bpe.txt.gz") == Pieces.of_merges(merges)
    with pytest.raises(FileNotFoundError, match=r"no table of OpenAI's CLIP: there is no bpe_simple"):
        OpenAITokenizer.in_folder(tmp_path)
    (tmp_path / "bpe_simple_vocab_16e6.txt").write_text("\n".join(lines))
    assert OpenAITokenizer.in_folder(tmp_path, 9).pieces == Pieces.of_merges(merges)
    (tmp_path / "bpe.txt.gz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bpe\.txt\.gz cannot be read"):
        Pieces.of_openai(tmp_path / "bpe.txt.gz")


@bytes_
def test_what_is_cut_is_named(monkeypatch):
    lines = warned(monkeypatch)
    text = "a small red fox " * 30
    cut = tiny().encode([text, "a fox"])
    (line,) = lines
    rest = line.split("what is cut: ")[1].strip("'")
    assert text.endswith(rest) and "a text of " in line and " is longer than the 75 that the model reads" in line
    assert cut.ids[0, -1] == tiny().end and cut.mask[0].all()
    kept = text.removesuffix(rest)
    assert tiny().read(kept).ids == cut.ids[0, 1:-1].tolist()
    words = WordTokenizer(words=WORDS, length=4)
    ids, mask = words.encode(["A small  RED three above", "red"])
    assert lines[1].endswith("what is cut: 'three above'")
    assert ids.tolist() == [[1, 2, 3, 6], [3, 6, 0, 0]] and mask.tolist() == [[True] * 4, [True, True, False, False]]


@bytes_
def test_what_pads_is_what_the_folder_says(tmp_path):
    """An exclamation mark that pads is special wherever it stands, as it is in folders of Stable Diffusion 2."""
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
    tokenizer = CLIPTokenizer.in_folder(tmp_path)
    assert (tokenizer.padding, tokenizer.end) == (0, 773)
    assert ids_of(tokenizer, "a fox!!") == [772, 320, 556, 343, 0, 0, 773]
    assert ids_of(tiny(), "a fox!") == [772, 320, 556, 343, 256, 773]
    ids, mask = tokenizer.encode(["!"])
    assert ids[0, :4].tolist() == [772, 0, 773, 0] and mask[0, :4].tolist() == [True, True, True, False]
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "[PAD]"}}))
    with pytest.raises(ValueError, match=r"the table of 774 pieces has no '\[PAD\]'"):
        CLIPTokenizer.in_folder(tmp_path)
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    assert CLIPTokenizer.in_folder(tmp_path).digest == tiny().digest


@bytes_
def test_one_file_holds_the_same_table(tmp_path):
    pieces = tiny().pieces
    for merges in ([" ".join(pair) for pair in pieces.merges], list(pieces.merges)):
        model = {"type": "BPE", "vocab": dict(pieces.numbers), "merges": merges}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
        assert CLIPTokenizer.in_folder(tmp_path).digest == tiny().digest
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram"}}))
    with pytest.raises(ValueError, match=r"tokenizer\.json holds no table of byte pairs"):
        CLIPTokenizer.in_folder(tmp_path)


@bytes_
@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("vocab.json", "{", r"vocab\.json is no JSON"),
        ("vocab.json", "[]", r"vocab\.json holds no dictionary"),
        ("vocab.json", '{"a": "b"}', r"vocab\.json holds no numbers by piece"),
        ("merges.txt", "#version: 0.2\na b c\n", r"merges\.txt is no list of pairs: a line is 'a b c'"),
        ("merges.txt", None, r"holds no table of byte pairs: there is neither vocab\.json beside merges\.txt nor"),
    ],
)
def test_a_damaged_folder(file, text, message, tmp_path):
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    (tmp_path / file).unlink()
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        CLIPTokenizer.in_folder(tmp_path)
    assert "\n" not in str(error.value)


@bytes_
def test_a_digest_is_of_everything_that_tokens_depend_on():
    """Class, length, padding, start, end, numbers and merges: each one changed."""
    numbers, merges = dict(tiny().pieces.numbers), list(tiny().pieces.merges)
    settings = {"length": 77, "padding": 773, "start": 772, "end": 773}
    swapped = numbers | {"fox</w>": numbers["a"], "a": numbers.get("fox</w>", 1)}
    digests = [
        CLIPTokenizer(pieces=Pieces(numbers, merges), **settings).digest,
        OpenAITokenizer(pieces=Pieces(numbers, merges), **settings).digest,
        CLIPTokenizer(pieces=Pieces(numbers, merges[:-1]), **settings).digest,
        CLIPTokenizer(pieces=Pieces(swapped, merges), **settings).digest,
        *(
            CLIPTokenizer(pieces=Pieces(numbers, merges), **settings | {name: 5}).digest
            for name in ("length", "padding", "start", "end")
        ),
        WordTokenizer(words=WORDS, length=4).digest,
        WordTokenizer(words=WORDS[::-1], length=4).digest,
    ]
    assert digests[0] == tiny().digest and len(set(digests)) == len(digests)


def test_words_and_what_is_none_of_them():
    words = WordTokenizer(words=WORDS, length=6)
    assert (words.size, words.end, words.padding) == (7, 6, 0)
    ids, mask = words.encode(["", "a RED three"])
    assert ids.tolist() == [[6, 0, 0, 0, 0, 0], [1, 3, 4, 6, 0, 0]] and mask.sum(axis=1).tolist() == [1, 4]
    with pytest.raises(ValueError, match=r"^unknown word 'smal' \(did you mean 'small'\?\); known: a, above, red"):
        words.encode(["a smal three"])
    for wrong in ((), ("a", "a"), ("A",), ("a b",), ("",)):
        with pytest.raises(ValueError, match="the vocabulary must be words in lower case without spaces, each once"):
            WordTokenizer(words=wrong, length=6)
    with pytest.raises(ValueError, match=r"length=1: no token of a text would fit"):
        WordTokenizer(words=WORDS, length=1)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a fox", r"the texts are 'a fox'; give a list of texts, one too"),
        (5, r"the texts are 5; give a list"),
        (None, r"the texts are None; give a list"),
        ([], r"the list of texts is empty; give one text or more"),
        (["a", 5], r"text 2 of 2 is 5, of type int; give a text"),
        (["a", None, "b"], r"text 2 of 3 is None, of type NoneType"),
        ([["a"]], r"text 1 of 1 is \['a'\], of type list"),
    ],
)
def test_what_is_no_list_of_texts(texts, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        check_texts(texts)
    assert "\n" not in str(error.value)
    with pytest.raises((ValueError, TypeCheckError)):  # the latter is these tests' own hook
        WordTokenizer(words=WORDS, length=4).encode(texts)


def test_what_is_cut_is_named_once_however_often_it_is_read(monkeypatch):
    lines, words = warned(monkeypatch), WordTokenizer(words=WORDS, length=3)
    for texts in (["a red three", "a red three"], ["a red three"], ["a red above"]):
        words.encode(texts)
    assert [line.rpartition(" ")[2] for line in lines] == ["'three'", "'above'"]


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    monkeypatch.setitem(sys.modules, "ftfy", None)
    message = "reading byte pairs of texts needs the package tokenizers: install it with pip install tokenizers"
    with pytest.raises(ValueError, match=f"^{message}$"):
        CLIPTokenizer.in_folder(TINY)


@bytes_
def test_openais_needs_ftfy_for_other_letters_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    pieces = Pieces.of_merges([tuple(pair) for pair in mini()["clip"]["merges"]])
    tokenizer = OpenAITokenizer.of_pieces(pieces)
    assert tokenizer.read("A  &amp;lt; B").text == "a < b"
    with pytest.raises(ValueError, match=r"^reading texts that are not ASCII, .* needs the package ftfy: install it"):
        tokenizer.encode(["café"])
