"""Texts as data: alphabets there and back, chunks, families of topics, and one line for what cannot be used."""

import re
from pathlib import Path

import numpy as np
import pytest

import data
from data.alphabets import Bytes, Characters, Pieces, characters_of
from data.chunks import Chunks
from data.fingerprint import of_records
from data.pipeline import batches
from data.pydoc_topics import SAME, families, split
from data.source import take

TEXT = "Der Fuß, die Füße — 猫 and 🐈.\n" * 8


def written(folder: Path, content: bytes | str, name: str = "a.txt") -> str:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


def word_pieces(folder: Path, *, unknown: bool = True) -> str:
    """A tokenizer of four words, as the library writes it."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"the": 0, "cat": 1, "sat": 2} | ({"[UNK]": 3} if unknown else {})
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return str(folder / "tokenizer.json")


def test_characters_and_bytes_come_back_and_pieces_are_the_tokenizers(tmp_path):
    for alphabet in (characters_of(TEXT), Bytes()):
        symbols = alphabet.encode(TEXT)
        assert symbols.dtype == np.int32 and 0 <= symbols.min() <= symbols.max() < len(alphabet)
        assert alphabet.decode(symbols) == TEXT
    assert list(characters_of("banana").encode("nab")) == [2, 0, 1]
    assert list(Bytes().encode("ß")) == [0xC3, 0x9F] and Bytes().decode(np.array([0xC3, 65])) == "�A"
    pieces = Pieces(word_pieces(tmp_path))
    assert len(pieces) == 4 and list(pieces.encode("the cat ate")) == [0, 1, 3]
    assert pieces.decode(np.array([1, 2])) == "cat sat"
    file = Path(word_pieces(tmp_path))
    file.write_text(file.read_text().replace('"sat": 2', '"sat": 7').replace('"sat":2', '"sat":7'))
    apart = Pieces(file)  # whose file leaves numbers out
    assert list(apart.encode("cat sat")) == [1, 7] and len(apart) == 8


def test_chunks_are_pieces_of_the_text_and_their_number_is_exact():
    alphabet = characters_of("0123456789")
    symbols = alphabet.encode("0123456789")
    apart = Chunks(symbols, length=3, stride=0, alphabet=alphabet, characters=10)
    assert [alphabet.decode(apart[i]["image"]) for i in range(len(apart))] == ["012", "345", "678"]
    every = Chunks(symbols, length=3, stride=1, alphabet=alphabet, characters=5)
    assert len(every) == 8 and every.symbols_per_character == 2.0
    found = take(every, np.arange(8))["image"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.arange(8)[:, None] + np.arange(3))


def test_the_end_of_a_file_is_its_test_set_and_a_folder_is_read_in_order(tmp_path):
    written(tmp_path, "abcdefgh", "b.txt")
    written(tmp_path, "\ufeff01234567", "a.txt")
    source = data.create("text", path=str(tmp_path), length=2, test_fraction=0.25)
    assert (source.shape, source.levels, source.num_categories, source.modality) == ((2,), None, 16, "text")
    train, test = (source.alphabet.decode(records.symbols) for records in (source.train, source.test))
    assert (train, test) == ("01234567abcd", "efgh")
    assert (len(source.train), len(source.test)) == (6, 2)
    two = data.create("text", path=str(tmp_path / "a.txt"), test_path=written(tmp_path, "7654", "c.txt"), length=2)
    assert two.alphabet.decode(two.test[0]["image"]) == "76" and len(two.alphabet) == 8
    assert len(data.create("text", path=str(tmp_path), length=2, test_fraction=0.0).test) == 0


def test_fingerprints_tell_texts_alphabets_and_chunks_apart(tmp_path):
    file = written(tmp_path, TEXT)

    def of(**options) -> str:
        return of_records(data.create("text", **{"path": file, "length": 8} | options).train)

    other = of(path=written(tmp_path, TEXT.replace("Fuß", "Fub"), "b.txt"))
    found = [of(), other, of(length=9), of(stride=2), of(alphabet="bytes"), of(alphabet=word_pieces(tmp_path))]
    found += [of(path=written(tmp_path, letters * 60, "c.txt")) for letters in ("ab", "cd")]  # the same numbers
    assert len(set(found)) == len(found) and of() == found[0]


def test_batches_begin_anywhere_as_they_were():
    source = data.create("pydoc_topics", length=16, stride=1)
    stream = batches(source.train, batch_size=4, seed=3)
    whole = [next(stream)["image"] for _ in range(5)]
    resumed = batches(source.train, batch_size=4, seed=3, start_step=3)
    for batch in whole[3:]:
        np.testing.assert_array_equal(next(resumed)["image"], batch)


def test_no_paragraph_of_the_topics_is_in_both_sets():
    from pydoc_data.topics import topics

    train, test = split(topics)
    assert 0.08 < len(test) / len(train + test) < 0.102
    paragraphs = [
        {" ".join(p.split()) for p in re.split(r"\n\s*\n", text) if len(" ".join(p.split())) >= SAME}
        for text in (train, test)
    ]
    assert len(paragraphs[0]) > 1000 and not paragraphs[0] & paragraphs[1]
    everything = {" ".join(p.split()) for text in topics.values() for p in re.split(r"\n\s*\n", text)}
    assert {p for p in everything if len(p) >= SAME} == paragraphs[0] | paragraphs[1]


def test_topics_that_share_a_paragraph_are_one_family():
    long = "a paragraph that is long enough to be nobody else's"
    topics = {"c": f"{long}\n\nof c", "b": "of b alone", "a": f"of a\n\n{long}\n", "d": "of c\n\n" + long.upper()}
    assert families(topics) == [f"of a\n\n{long}\n\nof c", "of b alone", f"of c\n\n{long.upper()}"]


def test_what_cannot_be_used_is_one_line(tmp_path):
    good = written(tmp_path, TEXT)
    (tmp_path / "empty").mkdir()
    cases = [
        ({"path": written(tmp_path, TEXT.encode("latin1", "replace"), "l.txt")}, r"l\.txt is not UTF-8 .* at byte 6\)"),
        ({"path": written(tmp_path, TEXT.encode("utf-16"), "w.txt")}, r"w\.txt is not UTF-8 .*iconv -f utf-16"),
        ({"path": " "}, "data.path is ' '; give a text file, or a folder of .txt files"),
        ({"path": written(tmp_path, "", "e.txt")}, r"e\.txt is empty; give a file"),
        ({"path": str(tmp_path / "no.txt")}, r"data\.path is .*no\.txt', which is no file and no folder"),
        ({"path": str(tmp_path / "empty")}, r"which is a folder without \.txt files"),
        ({"path": good, "length": 500}, r"the training text has \d+ characters, which is shorter than one chunk"),
        ({"path": good, "length": 100}, "the test text has 23 characters, which is shorter than one chunk"),
        ({"path": good, "test_path": written(tmp_path, "Fuß x", "x.txt"), "length": 2}, r"'x' \(U\+0078\) at place 4"),
        ({"path": good, "alphabet": "letters"}, "data.alphabet is 'letters', and there is no such file; .*characters"),
        ({"path": good, "alphabet": written(tmp_path, "{}", "t.json")}, r"t\.json cannot be read as a tokenizer \("),
        (
            {"path": good, "alphabet": word_pieces(tmp_path, unknown=False)},
            "cannot be cut into pieces by the tokenizer",
        ),
        ({"path": good, "length": 0}, r"data\.length is 0; it must be a whole number of at least 1"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            data.create("text", **options)
        assert "\n" not in str(error.value), error.value
    with pytest.raises(ValueError, match="has each character once"):
        Characters("aa")
