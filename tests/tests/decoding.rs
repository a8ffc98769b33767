//! A sequence that is written a few tokens at a time gives what it gives as a whole: every model, at every place, for every split.

use std::collections::BTreeMap;
use weft_compiler::check::Options;
use weft_compiler::graph::{Builder, Dim, Entry, Graph, Op, TensorType};
use weft_runtime::generate::{Cached, Decoder, Ends, Observer, Plan, Whole, Written, write};
use weft_runtime::program::{Choice, EarlyStopping, Generation, InputSource, Strategy, Token};
use weft_runtime::tensor::Tensor;
use weft_tests::device::{Device, Machine, Tensors};
use weft_tests::{cuda, specs};

const TOKENS: usize = 7;
const ROWS: usize = 2;
const KINDS: i32 = 11;

/// Specs with an item `predict whole(…, target: i32[n, t])` that gives logits `[n, t, 11]`.
const SPECS: &[(&str, &str)] = &[
    ("a bag of the last token", "embedding(11, 8)(target) |> dense(16) |> tanh |> dense(11)"),
    (
        "a small GPT with learned positions",
        "embedding(11, 16)(target) |> positions(32)
            |> repeat(2, transformer_block(attention(4, causal = true, bias = false), feed_forward(32)))
            |> layer_norm |> dense(11)",
    ),
    (
        "sines, grouped heads, a rotation",
        "let x = embedding(11, 16)(target) + sinusoids(t, 16)
        let y = x + attention(4, kv_heads = 2, causal = true, turn = rotary)(rms_norm(x))
        let z = y + attention(4, kv_heads = 1, causal = true, turn = rotary)(rms_norm(y))
        rms_norm(z) |> dense(11)",
    ),
    (
        "relative distances",
        "let x = embedding(11, 16)(target)
        let near = relative_bias(4, buckets = 6, furthest = 9, causal = true)
        x + attention(4, causal = true, relative = near)(x) |> dense(11)",
    ),
    (
        "an LSTM",
        "embedding(11, 8)(target) |> lstm(12, sequences = true) |> lstm(8, sequences = true) |> dense(11)",
    ),
    ("a GRU", "embedding(11, 8)(target) |> gru(12, sequences = true) |> dense(11)"),
    (
        "an LSTM that counts",
        "embedding(11, 8)(target) + sinusoids(t, 8) |> lstm(12, sequences = true) |> dense(11)",
    ),
    (
        "causal convolutions",
        "embedding(11, 8)(target)
            |> conv1d(12, kernel = 3, padding = causal) |> relu
            |> conv1d(12, kernel = 2, dilation = 3, padding = causal, groups = 2) |> relu
            |> depthwise_conv1d(kernel = 4, padding = causal)
            |> dense(11)",
    ),
    (
        "a loop of its own, beside a cache",
        "let x = embedding(11, 8)(target)
        let up = dense(8)
        let all = scan step in x over t carrying total = zeros(n, 8), turn = zeros(n) {
            total = 0.5 * total + tanh(up(step) + expand(turn, -1))
            turn = turn + 0.25
            yield total
        }
        let kept = cached(all, over = t)
        let seen = expand(position(t), -1) >= iota(shape(kept)[1])
        let scores = einsum(\"nqd,nkd->nqk\", all, kept)
        let weights = masked_softmax(scores, broadcast(seen, [n, t, shape(kept)[1]]))
        einsum(\"nqk,nkd->nqd\", weights, kept) |> dense(11)",
    ),
    (
        "places before, and those before them",
        "let x = embedding(11, 8)(target)
        let one = pad(x[:, :-1], [(0, 0), (1, 0), (0, 0)])
        let two = pad(one[:, :-1], [(0, 0), (1, 0), (0, 1)], value = 0.5)
        concat([x * one, two], axis = -1) |> dense(16) |> tanh |> dense(11)",
    ),
    (
        "sums and means of all places so far",
        "let x = embedding(11, 8)(target)
        let before = cumsum(x, axis = 1, exclusive = true)
        let mean = cumsum(tanh(x + before), axis = 1) / f32(reshape(position(t) + 1, [t, 1]))
        concat([x, before, mean], axis = -1) |> dense(11)",
    ),
    (
        "places and rows as one axis",
        "let x = reshape(embedding(11, 8)(target), [n * t, 8]) |> dense(16) |> gelu |> layer_norm
        let y = reshape(x, [n, t, 4, 4]) |> transpose([1, 0, 3, 2]) |> transpose([1, 0, 2, 3])
        reshape(y, [n, t, 16]) |> dense(11)",
    ),
];

/// The same with a source: `predict whole(source: i32[n, s], there: bool[n, s], target: i32[n, t])`.
const FROM_SOURCE: &[(&str, &str)] = &[
    (
        "an encoder and a decoder",
        "let symbols = embedding(11, 16)
        let seen = reshape(there, [n, 1, 1, s])
        let near = relative_bias(4, buckets = 8, furthest = 12)
        let before = relative_bias(4, buckets = 8, furthest = 12, causal = true)
        let encoder = repeat(2, transformer_block(attention(4, relative = near), feed_forward(32), norm = rms_norm))
        let context = encoder(symbols(source), seen)
        let decoder = repeat(2, decoder_block(attention(4, causal = true, relative = before), attention(4), feed_forward(32), norm = rms_norm))
        rms_norm(decoder(symbols(target), context, none, seen)) @ transpose(symbols.table)",
    ),
    (
        "an LSTM with a first state, that looks at a source",
        "let told = embedding(11, 8)(source) * expand(f32(there), -1)
        let first = mean(told, axis = 1) |> dense(12) |> tanh
        let all = lstm(12, sequences = true)(embedding(11, 8)(target), none, first, first)
        let seen = reshape(there, [n, 1, 1, s])
        dense(11)(all + attention(3)(all, told, seen))",
    ),
];

struct Case {
    machine: Machine,
    start: Entry,
    step: Entry,
    inputs: Tensors,
    symbols: BTreeMap<String, i64>,
}

fn numbers(seed: u64, count: usize, kinds: i32) -> Vec<i32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as i32
    };
    (0..count).map(|_| next().rem_euclid(kinds)).collect()
}

fn spec(body: &str, from_source: bool) -> String {
    let inputs = if from_source { "source: i32[n, s], there: bool[n, s], " } else { "" };
    let given = if from_source { "source, there, " } else { "" };
    format!(
        "model Lm({inputs}target: i32[n, t]) {{\n{body}\n}}
        predict whole({inputs}target: i32[n, t]) {{ Lm({given}target) }}
        generate text({inputs}prompt: i32[n, p]) {{
            begin = prompt
            until = 0
            max = 12
            Lm({given}target)
        }}\n"
    )
}

/// A prediction of all logits as an entry that gives those after the last of all tokens so far, for [`Whole`].
fn all_tokens(entry: Entry) -> Entry {
    let mut b = Builder::new("whole");
    b.graph = Graph { name: "whole".into(), ..entry.graph };
    let (_, all) = b.graph.outputs[0].clone();
    let ty = b.ty(all).clone();
    let mut last = ty.clone();
    last.shape[1] = Dim::constant(1);
    let slice = Op::Slice { axis: 1, start: ty.shape[1].clone() - Dim::constant(1), step: 1 };
    let last = b.push(slice, &[all], Some(last)).unwrap();
    let last = b.reshape(last, &[ty.shape[0].clone(), ty.shape[2].clone()]).unwrap();
    b.graph.outputs = vec![(Generation::LOGITS.into(), last)];
    let inputs = entry.inputs.into_iter().map(|(name, ty, source)| {
        let source = if name == Generation::TARGET { InputSource::Written } else { source };
        (name, ty, source)
    });
    Entry { inputs: inputs.collect(), graph: b.graph }
}

impl Case {
    fn new(name: &str, body: &str, from_source: bool, device: Device) -> Case {
        let checked = specs::check_text(&spec(body, from_source), &Options::default());
        let Some(mut module) = checked.module.clone() else {
            panic!("{name}:\n{}", specs::rendered(&checked))
        };
        weft_compiler::graph::verify_module(&module).unwrap_or_else(|e| panic!("{name}: {e:#?}"));
        let entry =
            |entry: &str| module.entries.iter().find(|e| e.graph.name == entry).cloned().expect(entry);
        let (start, step) = (entry("generate.text.start"), entry("generate.text.step"));
        let whole = all_tokens(entry("predict.whole"));
        module.entries.push(whole);
        let mut machine = Machine::new(module, device);
        machine.run("init", &BTreeMap::from([("random".to_owned(), Tensor::from_i64(&[2], &[3, 0]))]));
        // Biases and the like start at one value; here they differ.
        let variables: Vec<(String, Vec<usize>)> = machine
            .module()
            .variables
            .iter()
            .map(|v| (v.path.clone(), v.ty.shape.iter().map(|d| d.as_constant().unwrap() as usize).collect()))
            .collect();
        for (at, (path, shape)) in variables.into_iter().enumerate() {
            let count = shape.iter().product();
            let values: Vec<f32> =
                numbers(at as u64 + 5, count, 2001).iter().map(|v| (*v as f32 - 1000.0) / 1800.0).collect();
            machine.set(&path, &Tensor::from_f32(&shape, &values));
        }
        let mut inputs = Tensors::new();
        if from_source {
            inputs.insert("source".into(), Tensor::from_i32(&[ROWS, 5], &numbers(1, ROWS * 5, KINDS)));
            let there = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0];
            let there = Tensor {
                dtype: weft_runtime::program::DType::Bool,
                shape: vec![ROWS, 5],
                data: there.to_vec(),
            };
            inputs.insert("there".into(), there);
        }
        // What a text begins with is an input of its item, though the tests hand out the tokens themselves.
        inputs.insert("prompt".into(), Tensor::from_i32(&[ROWS, 1], &[0; ROWS]));
        let symbols = BTreeMap::from([("n".into(), ROWS as i64), ("s".into(), 5), ("p".into(), 1)]);
        Case { machine, start, step, inputs, symbols }
    }

    fn tensor(&self, ty: &TensorType, values: &[f64], symbols: &BTreeMap<String, i64>) -> Tensor {
        let shape: Vec<usize> = ty
            .shape
            .iter()
            .map(|d| d.evaluate(&|s| symbols.get(s).copied()).expect("known symbols") as usize)
            .collect();
        match ty.dtype {
            weft_runtime::program::DType::F32 => {
                Tensor::from_f32(&shape, &values.iter().map(|v| *v as f32).collect::<Vec<_>>())
            }
            weft_runtime::program::DType::Bool => {
                Tensor { dtype: ty.dtype, shape, data: values.iter().map(|v| *v as u8).collect() }
            }
            _ => Tensor::from_i32(&shape, &values.iter().map(|v| *v as i32).collect::<Vec<_>>()),
        }
    }

    /// The logits after each token, as the whole sequence gives them.
    fn whole(&mut self, tokens: &[i32], count: usize) -> Vec<f64> {
        let mut inputs = self.inputs.clone();
        inputs.remove("prompt");
        inputs.insert("target".into(), Tensor::from_i32(&[ROWS, count], tokens));
        let outputs = self.machine.run("predict.whole", &inputs);
        outputs.into_values().next().expect("logits")
    }

    /// The logits after each part of so many tokens.
    fn parts(&mut self, tokens: &[i32], count: usize, split: &[usize]) -> Vec<Vec<f64>> {
        let start = self.start.graph.name.clone();
        let mut own: Tensors = self.inputs.clone();
        let first = tokens.chunks(count).flat_map(|row| &row[..split[0]]).copied().collect::<Vec<i32>>();
        own.insert("target".into(), Tensor::from_i32(&[ROWS, split[0]], &first));
        own.retain(|name, _| self.start.inputs.iter().any(|input| input.0 == *name));
        let mut given = self.machine.run(&start, &own);
        let mut all = Vec::new();
        let mut past = 0;
        for &new in split {
            let mut symbols = self.symbols.clone();
            symbols.insert("t".into(), new as i64);
            symbols.insert("past.t".into(), past as i64);
            let mut inputs = Tensors::new();
            for (name, ty, source) in &self.step.inputs {
                let tensor = match source {
                    InputSource::Carried { grows: true } if past == 0 => self.tensor(ty, &[], &symbols),
                    InputSource::Kept | InputSource::Carried { .. } => {
                        let values = given.get(name).unwrap_or_else(|| panic!("nothing gives `{name}`"));
                        self.tensor(ty, values, &symbols)
                    }
                    _ => {
                        let rows = tokens.chunks(count).flat_map(|row| &row[past..past + new]);
                        Tensor::from_i32(&[ROWS, new], &rows.copied().collect::<Vec<i32>>())
                    }
                };
                inputs.insert(name.clone(), tensor);
            }
            let name = self.step.graph.name.clone();
            let outputs = self.machine.run(&name, &inputs);
            let logits = &self.step.graph.outputs[0].0;
            all.push(outputs[logits].clone());
            given.extend(outputs);
            past += new;
        }
        all
    }

    /// The same, where the session keeps what goes on from step to step; before each part, rows are chosen.
    fn session(&mut self, tokens: &[i32], count: usize, split: &[(usize, &[usize])]) -> Vec<Vec<f64>> {
        let (start_entry, step_entry) = (self.start.clone(), self.step.clone());
        let own = self.inputs.clone();
        let session = self.machine.session().expect("it is compiled");
        let start = session.entry(&start_entry.graph.name).unwrap();
        let step = session.entry(&step_entry.graph.name).unwrap();
        let mut all = Vec::new();
        let (mut past, mut rows) = (0, (0..ROWS).collect::<Vec<usize>>());
        for (part, (new, chosen)) in split.iter().enumerate() {
            if part > 0 {
                session.select(step, chosen).unwrap();
            }
            rows = chosen.iter().map(|row| rows[*row]).collect();
            let given: Vec<i32> =
                rows.iter().flat_map(|row| &tokens[row * count + past..][..*new]).copied().collect();
            let given = Tensor::from_i32(&[rows.len(), *new], &given);
            if part == 0 {
                let inputs = start_entry.inputs.iter().map(|(name, _, _)| own.get(name).unwrap_or(&given));
                let views: Vec<_> = inputs.map(|tensor| tensor.view()).collect();
                session.begin(start, step, &views).unwrap();
            }
            let outputs = session.advance(step, &[given.view()]).unwrap();
            all.push(outputs.get(0).to_f64());
            past += new;
        }
        all
    }

    fn agrees(&mut self, name: &str, tokens: &[i32], count: usize, split: &[usize]) {
        let whole = self.whole(tokens, count);
        let width = KINDS as usize;
        let mut end = 0;
        for (logits, new) in self.parts(tokens, count, split).iter().zip(split) {
            end += new;
            for row in 0..ROWS {
                let due = &whole[(row * count + end - 1) * width..][..width];
                let got = &logits[row * width..][..width];
                let apart = due.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(
                    apart <= 1e-5,
                    "{name}: {apart} after {end} tokens, split as {split:?}: {due:?} {got:?}"
                );
            }
        }
    }
}

/// All ways to write a number as a sum, in order.
fn splits(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    (1..=count)
        .flat_map(|first| {
            splits(count - first).into_iter().map(move |rest| {
                let mut all = vec![first];
                all.extend(rest);
                all
            })
        })
        .collect()
}

fn cases() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    SPECS.iter().map(|(n, b)| (*n, *b, false)).chain(FROM_SOURCE.iter().map(|(n, b)| (*n, *b, true)))
}

#[test]
fn the_evaluator_agrees_for_every_split() {
    let tokens = numbers(7, ROWS * TOKENS, KINDS);
    for (name, body, from_source) in cases() {
        let mut case = Case::new(name, body, from_source, Device::Evaluator64);
        for split in splits(TOKENS) {
            case.agrees(name, &tokens, TOKENS, &split);
        }
    }
}

#[test]
fn the_cpu_agrees_for_every_split_and_length_of_one_program() {
    for (name, body, from_source) in cases() {
        let mut case = Case::new(name, body, from_source, Device::Cpu(2));
        for count in [TOKENS, 1, 20, 4] {
            let tokens = numbers(count as u64, ROWS * count, KINDS);
            if count <= TOKENS {
                for split in splits(count) {
                    case.agrees(name, &tokens, count, &split);
                }
            } else {
                case.agrees(name, &tokens, count, &vec![1; count]);
                case.agrees(name, &tokens, count, &[count - 3, 1, 1, 1]);
            }
        }
    }
}

/// A session that carries what goes on, twice, and chooses rows before some of the parts.
fn session_agrees(case: &mut Case, name: &str) {
    let count = 20;
    let tokens = numbers(3, ROWS * count, KINDS);
    let both: &[usize] = &[0, 1];
    let mut plan: Vec<(usize, &[usize])> =
        vec![(3, both), (1, both), (1, &[1, 0]), (1, &[1, 1]), (2, &[0, 0, 1])];
    plan.extend([(1, &[2, 1, 0][..]), (1, &[0, 2]), (1, &[1]), (1, &[0]), (4, &[0, 0]), (4, both)]);
    let whole = case.whole(&tokens, count);
    // Twice, so that nothing of the first sequence is left in the second.
    for _ in 0..2 {
        let (mut rows, mut end, width) = ((0..ROWS).collect::<Vec<usize>>(), 0, KINDS as usize);
        for (logits, (new, chosen)) in case.session(&tokens, count, &plan).iter().zip(&plan) {
            rows = chosen.iter().map(|row| rows[*row]).collect();
            end += new;
            assert_eq!(logits.len(), rows.len() * width, "{name}");
            for (at, row) in rows.iter().enumerate() {
                let due = &whole[(row * count + end - 1) * width..][..width];
                let got = &logits[at * width..][..width];
                let apart = due.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(apart <= 1e-5, "{name}: {apart} after {end} tokens");
            }
        }
    }
}

#[test]
fn a_session_keeps_what_goes_on_and_chooses_rows() {
    for (name, body, from_source) in cases() {
        session_agrees(&mut Case::new(name, body, from_source, Device::Cpu(2)), name);
    }
}

struct Silent;

impl Observer for Silent {}

/// What is written by these choices, token by token with what was kept, and from all tokens again.
fn strategies_agree(case: &mut Case, name: &str, choices: &[Choice]) {
    let ends = Ends::new(&[Token::Id(0)], None).unwrap();
    let prompt = numbers(21, ROWS * 3, KINDS);
    let begin: Vec<&[i32]> = prompt.chunks(3).collect();
    let generation = case.machine.module().generations[0].clone();
    let mut inputs: Vec<(String, Tensor)> = case.inputs.clone().into_iter().collect();
    inputs.retain(|(name, _)| name != "prompt");
    inputs.push(("prompt".into(), Tensor::from_i32(&[ROWS, 3], &prompt)));
    let session = case.machine.session().expect("it is compiled");
    for choice in choices {
        let by = Strategy { choice: choice.clone(), repetition_penalty: 1.1 };
        let plan = Plan { by: &by, ends: &ends, tokens: usize::MAX, max: 12, seed: 5 };
        let run = |decoder: &mut dyn Decoder| -> Vec<Written> {
            write(decoder, &begin, &[0, 1], &plan, &mut Silent).unwrap()
        };
        let whole = session.entry("whole").unwrap();
        let due = run(&mut Whole::new(session, whole, &inputs).unwrap());
        let got = run(&mut Cached::new(session, &generation, &inputs).unwrap());
        for (due, got) in due.iter().zip(&got) {
            assert_eq!(due.tokens, got.tokens, "{name}, {choice:?}");
            let apart = due.score.unwrap_or_default() - got.score.unwrap_or_default();
            assert!(apart.abs() < 1e-4, "{name}, {choice:?}: {due:?} {got:?}");
        }
    }
}

fn beam(width: usize, early_stopping: EarlyStopping) -> Choice {
    Choice::Beam { width, length_penalty: 1.0, early_stopping }
}

#[test]
fn strategies_write_the_same_as_with_all_tokens_again() {
    let sample = Choice::Sample { temperature: 0.9, top_k: Some(8), top_p: 0.95 };
    let choices = [Choice::Greedy, sample, beam(4, EarlyStopping::Yes), beam(3, EarlyStopping::Never)];
    for (name, body, from_source) in cases() {
        let mut case = Case::new(name, body, from_source, Device::Cpu(2));
        strategies_agree(&mut case, name, &choices);
    }
}

/// All of this once more where kernels can be compiled, with fewer splits and choices.
#[test]
fn a_gpu_agrees_too() {
    if !cuda::is_ready() {
        return;
    }
    for (name, body, from_source) in cases() {
        let mut case = Case::new(name, body, from_source, Device::Cuda);
        let tokens = numbers(7, ROWS * TOKENS, KINDS);
        for split in [vec![TOKENS], vec![1; TOKENS], vec![3, 1, 2, 1]] {
            case.agrees(name, &tokens, TOKENS, &split);
        }
        session_agrees(&mut case, name);
        strategies_agree(&mut case, name, &[Choice::Greedy, beam(3, EarlyStopping::Never)]);
    }
}

#[test]
fn the_bits_are_the_same_for_every_thread_count() {
    let tokens = numbers(9, ROWS * TOKENS, KINDS);
    for (name, body, from_source) in cases() {
        let run = |threads| {
            let mut case = Case::new(name, body, from_source, Device::Cpu(threads));
            case.parts(&tokens, TOKENS, &[3, 1, 2, 1])
        };
        assert_eq!(run(1), run(2), "{name}");
    }
}
