"""Greedy generation by a T5-small: Weft and CTranslate2 in turns, for each type of weights.

Usage: generation.py [--rounds 4] [--threads N] [--weft target/release/weft] [--dtypes f32,int8]

The weights are random, in T5-small's real shapes; a text of 20 tokens is read and 50 are written. Prints a Markdown table: medians over the
rounds, and the ratio of Weft's time to CTranslate2's of the same rounds. `weft bench` tells the beginning and a step apart: 50 tokens are the
beginning, which gives the first, and 49 steps.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VOCABULARY, GIVEN, WRITTEN = 32128, 20, 50


def convert(folder):
    """A random T5 as CTranslate2 has it. Only numbers of tokens matter, so their names are made up."""
    import transformers
    from ctranslate2.converters.transformers import T5Loader

    names = ["<pad>", "</s>", "<unk>"] + [f"t{i}" for i in range(3, VOCABULARY)]

    class Loader(T5Loader):
        def get_vocabulary(self, model, tokenizer):
            return list(names)

        def set_vocabulary(self, spec, tokens):
            spec.register_source_vocabulary(tokens)
            spec.register_target_vocabulary(tokens)

        def set_config(self, config, model, tokenizer):
            config.bos_token, config.eos_token, config.unk_token = "<pad>", "</s>", "<unk>"
            config.decoder_start_token = "<pad>"

    shape = transformers.T5Config(vocab_size=VOCABULARY, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8,
                                  decoder_start_token_id=0)
    spec = Loader()(transformers.T5ForConditionalGeneration(shape).eval(), None)
    spec.validate()
    spec.optimize()
    spec.save(folder)


def weft(binary, dtype, threads):
    command = [binary, "bench", "specs/t5_small.weft", "--entry", "generate.target_of", "--given", str(GIVEN), "--dtype", dtype,
               "--threads", str(threads), "--repeats", "8", "--json"]
    told = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    return told["prefill_ms"] + (WRITTEN - 1) * told["step_ms"]


def peer(translator):
    source = [[f"t{random.Random(i).randrange(3, VOCABULARY)}" for i in range(GIVEN)]]
    times = []
    for _ in range(8):
        start = time.perf_counter()
        found = translator.translate_batch(source, beam_size=1, max_decoding_length=WRITTEN, min_decoding_length=WRITTEN,
                                           return_end_token=True)
        times.append(1e3 * (time.perf_counter() - start))
        assert len(found[0].hypotheses[0]) == WRITTEN
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--weft", default=str(ROOT / "target/release/weft"))
    parser.add_argument("--dtypes", default="f32,int8")
    given = parser.parse_args()
    import ctranslate2
    folder = tempfile.mkdtemp()
    convert(folder)
    print(f"{WRITTEN} tokens, {given.threads} threads, medians of {given.rounds} rounds")
    print("| weights | weft, ms | CTranslate2, ms | ratio |\n|---|---|---|---|")
    for dtype in given.dtypes.split(","):
        kind = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}.get(dtype, dtype)
        translator = ctranslate2.Translator(folder, device="cpu", compute_type=kind, inter_threads=1, intra_threads=given.threads)
        rounds = [(weft(given.weft, dtype, given.threads), peer(translator)) for _ in range(given.rounds)]
        own, other = (statistics.median(times) for times in zip(*rounds))
        ratio = statistics.median(ours / theirs for ours, theirs in rounds)
        print(f"| {dtype} | {own:.1f} | {other:.1f} | **{ratio:.2f}** |", flush=True)


main()
