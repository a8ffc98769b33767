"""What `transformers` writes with small random models, greedily and by beams, and how its processors change logits.

They are not cases of a manifest: `tests/cli/generate.rs` gives the models of `generation/*.safetensors` to `weft generate`, and the runtime's own tests
read `generation/processors.json`. Models and sources are looked for whose texts hold many tokens, and whose choices are clear: no other
token, and no other row of the beams, is nearly as good.
"""

import json

import torch
import transformers
from safetensors.torch import save_file

from recorder import FOLDER, array, integers

HOME = FOLDER / "generation"
NEW = 16
BEAMS = [
    {"width": 4},
    {"width": 3, "length_penalty": 0.4, "early_stopping": True},
    {"width": 4, "length_penalty": 1.2, "early_stopping": "never"},
    {"width": 2, "repetition_penalty": 1.3},
    {"width": 5, "length_penalty": -0.5},
]


def asked(by):
    """Our words for a strategy, as arguments of `generate`."""
    names = {"width": "num_beams"}
    return {names.get(key, key): value for key, value in by.items()}


def run(model, inputs, by):
    """The new tokens of each row, their scores, and how clear the closest choice is."""
    beams = by.get("width", 1)
    answer = model.generate(**inputs, max_new_tokens=NEW, do_sample=False, return_dict_in_generate=True, output_scores=True,
                            num_return_sequences=min(beams, 2), **asked(by))
    prompt = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    rows, scores, margin = [], [], float("inf")
    each = min(beams, 2)
    for row in range(0, len(answer.sequences), each):
        tokens = answer.sequences[row, prompt:].tolist()
        if 1 in tokens:
            tokens = tokens[:tokens.index(1) + 1]
        rows.append(tokens)
        if beams > 1:
            scores.append(answer.sequences_scores[row].item())
            margin = min(margin, scores[-1] - answer.sequences_scores[row + 1].item())
        else:
            for place in range(len(tokens)):
                best = answer.scores[place][row].topk(2).values
                margin = min(margin, (best[0] - best[1]).item())
    return rows, scores, margin


def cases(model, inputs):
    """The cases of a model; none when one is not clear, or says too little."""
    found = []
    for by in [{}, {"repetition_penalty": 1.5}] + BEAMS:
        rows, scores, margin = run(model, inputs, by)
        if margin < 0.003:
            return None
        wide = {key: value.double() if value.is_floating_point() else value for key, value in inputs.items()}
        again, _, _ = run(model.double(), wide, by)
        model.float()
        if again != rows or not by and len(set(sum(rows, []))) < 10:
            return None
        found.append({"by": by, "tokens": rows, "scores": scores})
    ended = sum(row[-1] == 1 for case in found for row in case["tokens"])
    if not 2 <= ended or max(len(set(sum(case["tokens"], []))) for case in found[2:]) < 10:
        return None
    return found


def search(make, source):
    for seed in range(2000):
        model, inputs = make(seed), source(seed)
        found = cases(model, inputs)
        if found:
            return model, inputs, found
    raise SystemExit("no model says enough")


def random_weights(model, seed, scale, positions=1.0):
    """Large weights, of positions even larger, so that the tokens differ from place to place."""
    generator = torch.Generator().manual_seed(seed)
    for path, parameter in model.named_parameters():
        factor = positions if ".wpe." in path else 0.2 if path.endswith(".bias") else scale
        parameter.data = torch.randn(parameter.shape, generator=generator) * factor
    return model.eval()


def write(name, weights, settings, inputs, found):
    HOME.mkdir(exist_ok=True)
    save_file(weights, HOME / f"{name}.safetensors", {"settings": settings})
    golden = {"max": NEW, "inputs": {key: value.tolist() for key, value in inputs.items()}, "cases": found}
    (HOME / f"{name}.json").write_text(json.dumps(golden) + "\n")
    print(name, json.dumps(found))


def t5():
    config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=6, d_ff=24, num_layers=2, num_decoder_layers=2, num_heads=3,
                                   relative_attention_num_buckets=8, relative_attention_max_distance=20, feed_forward_proj="relu",
                                   tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)

    def source(seed):
        tokens = torch.from_numpy(2 + integers((3, 9), seed, 38)).long()
        tokens[1, 6:] = 0
        return {"input_ids": tokens, "attention_mask": (tokens != 0).long()}

    model, inputs, found = search(lambda seed: random_weights(transformers.T5ForConditionalGeneration(config), seed, 2.0), source)
    weights = {path: value.contiguous() for path, value in model.state_dict().items()}
    kept = {path: value for path, value in weights.items() if not path.endswith(("embed_tokens.weight", "lm_head.weight"))}
    write("t5", kept, "vocab=40 width=16 head_width=6 hidden=24 layers=2 heads=3 buckets=8 furthest=20", {"source": inputs["input_ids"]}, found)


def gpt2():
    config = transformers.GPT2Config(vocab_size=40, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1, pad_token_id=0)

    def source(seed):
        tokens = torch.from_numpy(2 + integers((2, 5), seed, 38)).long()
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}

    model, inputs, found = search(lambda seed: random_weights(transformers.GPT2LMHeadModel(config), seed, 1.0, positions=6.0), source)
    theirs, ours = model.state_dict(), {}
    ours["Gpt2.symbols.table"] = theirs["transformer.wte.weight"]
    ours["Gpt2.positions.table"] = theirs["transformer.wpe.weight"]
    for kind, name in [("weight", "scale"), ("bias", "bias")]:
        ours[f"Gpt2.last_norm.{name}"] = theirs[f"transformer.ln_f.{kind}"]
        for layer in range(2):
            there, here = f"transformer.h.{layer}", f"Gpt2.block.{layer}"
            ours[f"{here}.attention_norm.{name}"] = theirs[f"{there}.ln_1.{kind}"]
            ours[f"{here}.feed_norm.{name}"] = theirs[f"{there}.ln_2.{kind}"]
    for layer in range(2):
        there, here = f"transformer.h.{layer}", f"Gpt2.block.{layer}"
        for kind in ["weight", "bias"]:
            for part, value in zip(["query", "key", "value"], theirs[f"{there}.attn.c_attn.{kind}"].split(16, dim=-1)):
                ours[f"{here}.attend.{part}.{kind}"] = value
            ours[f"{here}.attend.out.{kind}"] = theirs[f"{there}.attn.c_proj.{kind}"]
            ours[f"{here}.feed.wide.{kind}"] = theirs[f"{there}.mlp.c_fc.{kind}"]
            ours[f"{here}.feed.out.{kind}"] = theirs[f"{there}.mlp.c_proj.{kind}"]
    ours = {path: value.clone().contiguous() for path, value in ours.items()}
    write("gpt2", ours, "", {"prompt": inputs["input_ids"]}, found)


def processors():
    """Rows of logits, the tokens so far, and the scores that are left of them: null where a token may not come."""
    from transformers.generation import logits_process as p
    recorded = []
    for seed, by in enumerate([{"temperature": 0.7}, {"top_k": 5}, {"top_k": 50}, {"top_p": 0.8}, {"top_p": 0.1}, {"repetition_penalty": 1.7},
                               {"repetition_penalty": 0.6}, {"temperature": 1.9, "top_k": 12, "top_p": 0.75, "repetition_penalty": 1.2}]):
        logits = torch.from_numpy(array((24,), seed, -6.0, 6.0))
        row = torch.from_numpy(integers((1, 7), seed, 24)).long()
        scores = logits[None].clone()
        if "repetition_penalty" in by:
            scores = p.RepetitionPenaltyLogitsProcessor(by["repetition_penalty"])(row, scores)
        if "temperature" in by:
            scores = p.TemperatureLogitsWarper(by["temperature"])(row, scores)
        if "top_k" in by:
            scores = p.TopKLogitsWarper(by["top_k"])(row, scores)
        if "top_p" in by:
            scores = p.TopPLogitsWarper(by["top_p"])(row, scores)
        left = [None if value == float("-inf") else value for value in scores[0].tolist()]
        recorded.append({"by": by, "logits": logits.tolist(), "row": row[0].tolist(), "scores": left})
    HOME.mkdir(exist_ok=True)
    (HOME / "processors.json").write_text(json.dumps(recorded) + "\n")


def record():
    processors()
    t5()
    gpt2()
