"""Small random models of `transformers`, saved as its own files are, with an input and what the model makes of it.

They are not cases of a manifest: `tests/cli/pretrained.rs` puts each file where the spec's `load` item expects the published one, and runs
`weft predict`. The file's metadata holds the settings that make the spec's model as small.
"""

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

from recorder import FOLDER, integers


def save(name, model, settings, inputs, output):
    weights = {path: value.contiguous() for path, value in model.state_dict().items()}
    # Tied weights stand once in a file, as `save_pretrained` writes them.
    kept = {path: value for path, value in weights.items() if not path.endswith(("embed_tokens.weight", "lm_head.weight"))}
    tensors = kept | {f"input.{key}": torch.from_numpy(value) for key, value in inputs.items()} | {"output": output.detach().contiguous()}
    path = FOLDER / "pretrained" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, {"settings": " ".join(f"{key}={value}" for key, value in settings.items())})
    print(f"{path.name}: {path.stat().st_size} bytes")


def scrambled(model):
    """Every weight random, so that none that is left out goes unnoticed."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return model.eval()


def t5():
    config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=6, d_ff=24, num_layers=2, num_decoder_layers=2, num_heads=3,
                                   relative_attention_num_buckets=8, relative_attention_max_distance=20, feed_forward_proj="relu",
                                   tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    model = scrambled(transformers.T5ForConditionalGeneration(config))
    source = 2 + integers((2, 13), 1, 38)
    source[1, 9:] = 0
    target = integers((2, 11), 2, 40)
    target[:, 0] = 0
    output = model(input_ids=torch.from_numpy(source).long(), attention_mask=torch.from_numpy(source != 0).long(),
                   decoder_input_ids=torch.from_numpy(target).long()).logits
    save("t5", model, {"vocab": 40, "width": 16, "head_width": 6, "hidden": 24, "layers": 2, "heads": 3, "buckets": 8, "furthest": 20},
         {"source": source, "target": target}, output)


def bert():
    config = transformers.BertConfig(vocab_size=40, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
                                     max_position_embeddings=16)
    model = scrambled(transformers.BertModel(config))
    tokens = 1 + integers((2, 9), 1, 39)
    tokens[1, 6:] = 0
    there = torch.from_numpy(tokens != 0)
    vectors = model(input_ids=torch.from_numpy(tokens).long(), attention_mask=there.long()).last_hidden_state
    pooled = (vectors * there[..., None]).sum(1) / there.sum(1, keepdim=True)
    save("bert", model, {"vocab": 40, "width": 12, "layers": 2, "heads": 3, "hidden": 20, "longest": 16},
         {"tokens": tokens}, torch.nn.functional.normalize(pooled))


def record():
    np.random.seed(0)
    t5()
    bert()
