"""Makes the verse pairs that `specs/en_es.weft` learns from, and the text of `specs/gpt.weft`, from two Bibles in the public domain.

    apt-get download sword-text-kjv sword-text-sparv        # Debian; each is unpacked with `dpkg -x FILE.deb .`
    export SWORD_PATH=usr/share/sword                       # `mod2imp` is in libsword-utils
    mod2imp engKJV2006eb > english.imp
    mod2imp spaRV1909eb > spanish.imp
    python make_verses.py english.imp spanish.imp FOLDER

FOLDER gets `train.tsv` and `test.tsv`, a line `english<TAB>spanish` a verse below a line of names, of verses that are not too long, and
`kjv.txt`, all English verses alone. The test part is whole books, less the verses that are like one of the training part in either language: a
sentence that was learned by heart is not translated.
"""

import re
import sys
from pathlib import Path

# Words that a verse of a pair has at most, in either language.
LONGEST = 30

TEST_BOOKS = {"Ruth", "Esther", "Jonah", "Galatians", "James"}

# Of a verse's triples of words, the share that a training verse may have too.
ALIKE = 0.5


def verses(path):
    """Reference ("Genesis 1:1") to text, without headings and marks."""
    found, reference = {}, None
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith("$$$"):
            reference = line[3:]
        elif reference and re.search(r" [1-9]\d*:[1-9]\d*$", reference):
            found[reference] = found.get(reference, "") + " " + line
    clean = lambda text: re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text).replace("¶", " ")).strip()
    return {reference: text for reference, raw in found.items() if (text := clean(raw))}


def triples(text):
    words = re.findall(r"[^\W\d_]+", text.lower())
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def main(english, spanish, folder):
    english, spanish = verses(english), verses(spanish)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    book = lambda reference: reference.rsplit(" ", 1)[0]
    short = lambda text: len(text.split()) <= LONGEST
    pairs = [(r, text, spanish[r]) for r, text in english.items() if r in spanish and short(text) and short(spanish[r])]
    train = [pair for pair in pairs if book(pair[0]) not in TEST_BOOKS]
    holders = {}
    for place, texts in enumerate(train):
        for language, text in enumerate(texts[1:]):
            for triple in triples(text):
                holders.setdefault((language, triple), []).append(place)

    def known(text, language):
        """Does a training verse have so many of this one's triples?"""
        own, counts = triples(text), {}
        for triple in own:
            for place in holders.get((language, triple), []):
                counts[place] = counts.get(place, 0) + 1
        return max(counts.values(), default=0) >= ALIKE * len(own)

    test = [pair for pair in pairs if book(pair[0]) in TEST_BOOKS and not any(map(known, pair[1:], (0, 1)))]
    for name, rows in [("train", train), ("test", test)]:
        lines = ["english\tspanish", *(f"{en}\t{es}" for _, en, es in rows)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "kjv.txt").write_text("\n".join(english.values()) + "\n", encoding="utf-8")
    held = sum(book(pair[0]) in TEST_BOOKS for pair in pairs)
    print(f"{len(train)} pairs to train on, {len(test)} of {held} held out for the test")


main(*sys.argv[1:4])
