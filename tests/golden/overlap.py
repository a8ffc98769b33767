"""BLEU and chrF of small corpora, as sacreBLEU gives them.

    pip install sacrebleu
    python tests/golden/overlap.py
"""

import json
import pathlib

import sacrebleu

CORPORA = [
    (["the cat sat on the mat ."], ["the cat sat on the mat ."]),
    (["the cat sat on a mat, he said."], ["The cat sat on the mat, she said."]),
    (["In the beginning God made heaven.", "And there was light!"], ["In the beginning God created the heaven and the earth.", "And there was light."]),
    (["it cost 1,234.50 dollars (about 5-6%)", "a/b & c"], ["it costs 1,234.5 dollars (about 5-7%)", "a / b &amp; c"]),
    (["completely different words here now"], ["nothing shared at all between these"]),
    (["one two", "three"], ["one two three four", "three four five"]),
    (["", "some words that are the same"], ["empty before", "some words that are the same"]),
    (["El perro corrió rápido; ¿adónde?", "naïve café"], ["El perro corrió muy rápido; ¿a dónde?", "naïve cafés"]),
    (["a..b,, c -- d-\ne 3-4"], ["a . . b , , c -- d e 3 - 4"]),
]


def main():
    golden = [
        {
            "texts": texts,
            "references": references,
            "bleu": sacrebleu.corpus_bleu(texts, [references]).score,
            "chrf": sacrebleu.corpus_chrf(texts, [references]).score,
        }
        for texts, references in CORPORA
    ]
    path = pathlib.Path(__file__).parent / "tokenizers" / "overlap.json"
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
