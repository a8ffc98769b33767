"""Encodings of tokenizers, as Hugging Face's `tokenizers` gives them.

The tokenizer files are small ones trained here, one of each kind (WordPiece as BERT's, byte-level BPE as GPT-2's, a unigram model as T5's); with
MINILM=FOLDER the real tokenizer of all-MiniLM-L6-v2 is asked as well, whose file is not kept: only its answers are.

    pip install tokenizers sacrebleu
    python tests/golden/encodings.py
"""

import json
import os
import pathlib

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

HERE = pathlib.Path(__file__).parent / "tokenizers"

CORPUS = [
    "In the beginning God created the heaven and the earth.",
    "And the earth was without form, and void; and darkness was upon the face of the deep.",
    "And the Spirit of God moved upon the face of the waters.",
    "And God said, Let there be light: and there was light.",
    "And God saw the light, that it was good: and God divided the light from the darkness.",
    "And God called the light Day, and the darkness he called Night.",
    "And the evening and the morning were the first day.",
    "En el principio creó Dios los cielos y la tierra.",
    "Y la tierra estaba desordenada y vacía, y las tinieblas estaban sobre la haz del abismo.",
]

TEXTS = [
    "And God said, Let there be light.",
    "",
    "   spaces   and\ttabs\nand lines ",
    "naïve café — “quotes” and 日本語 🎈",
    "UPPER lower MiXeD 1234567890",
    "don't can't won't",
    "The [MASK] moved <s> upon </s> the [SEP] waters.",
    "e\u0301 is not é",
    "x" * 120,
]


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=128)
    tokenizer.enable_truncation(64)
    return tokenizer


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, min_frequency=2, special_tokens=["<pad>", "<unk>", "<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def answers(tokenizer):
    tokenizer.no_padding()
    tokenizer.no_truncation()
    found = []
    for text in TEXTS:
        bare, whole = tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.encode(text).ids
        found.append({"text": text, "bare": bare, "special": whole, "decoded": tokenizer.decode(whole)})
    return found


def main():
    HERE.mkdir(exist_ok=True)
    golden = {"corpus": CORPUS}
    for name, tokenizer in [("word_piece", word_piece()), ("byte_level", byte_level()), ("unigram", unigram())]:
        (HERE / f"{name}.json").write_text(tokenizer.to_str(), encoding="utf-8")
        golden[name] = answers(tokenizer)
    minilm = os.environ.get("MINILM")
    if minilm:
        golden["minilm"] = answers(Tokenizer.from_file(f"{minilm}/tokenizer.json"))
    (HERE / "encodings.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
