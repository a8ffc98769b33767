use serde_json::Value;

use super::*;
use crate::kernels::random;
use crate::program::{EarlyStopping, Token};

#[cfg(feature = "text")]
#[test]
fn a_text_ends_a_row_however_tokens_cut_it() {
    use crate::program::{Vocabulary, VocabularySource};
    let corpus: Vec<&str> = ["drei zwei eins", "am weekend", "the end"].repeat(20);
    let texts = vec!["text".to_owned()];
    let ends = |source: VocabularySource, size: usize, until: &str| {
        let tokenizer = crate::text::train(&Vocabulary { name: "words".into(), source, size }, &corpus, 1);
        let tokenizer = tokenizer.unwrap();
        let ends = Ends::new(&[Token::Name(until.into())], Some(&tokenizer)).unwrap();
        (tokenizer, ends)
    };
    // Where the row ends: behind so many tokens, or before the token with this number.
    let end = |(tokenizer, ends): &(crate::text::Tokenizer, Ends), text: &str| -> Option<String> {
        let tokens = tokenizer.encode(text, false).unwrap();
        let at = (0..tokens.len())
            .find(|&at| ends.is_end(tokens[at]) || ends.text_ends(&tokens[..=at]).unwrap())?;
        Some(tokenizer.decode(&tokens[..=at], false).unwrap())
    };
    // Merges of 300 tokens have " zwei", "zwei" and "wei" as tokens.
    for until in ["zwei", "wei", "ei z"] {
        let pairs = ends(VocabularySource::Bpe { texts: texts.clone() }, 300, until);
        assert_eq!(end(&pairs, "drei zwei eins").as_deref(), Some("drei zwei"), "{until}");
    }
    let words = ends(VocabularySource::WordLevel { texts, lowercase: true }, 40, "end");
    assert_eq!(end(&words, "am weekend"), None);
    assert_eq!(end(&words, "the end").as_deref(), Some("the end"));
}

/// Logits that depend on the last two tokens of a row alone, as a hash of them has it.
struct Table {
    vocabulary: usize,
    rows: Vec<Vec<i32>>,
    logits: Vec<f32>,
    /// How often the table was asked, and for how many rows in all.
    asked: (usize, usize),
}

impl Table {
    fn new(vocabulary: usize) -> Table {
        Table { vocabulary, rows: Vec::new(), logits: Vec::new(), asked: (0, 0) }
    }

    fn of(&self, row: &[i32]) -> Vec<f32> {
        let last = |back: usize| row.len().checked_sub(back).map_or(-1, |at| i64::from(row[at]));
        let logit = |id: u64| 6.0 * random::uniform(id, [last(1), last(2)], 7) - 3.0;
        (0..self.vocabulary as u64).map(logit).collect()
    }
}

impl Decoder for Table {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn step(&mut self, tokens: &[i32], rows: usize) -> Result<&[f32]> {
        if self.rows.is_empty() {
            self.rows.resize(rows, Vec::new());
        }
        assert_eq!(self.rows.len(), rows, "no row comes or goes but by `select`");
        assert_eq!(tokens.len() % rows, 0);
        for (row, new) in self.rows.iter_mut().zip(tokens.chunks(tokens.len() / rows)) {
            row.extend(new);
        }
        self.asked = (self.asked.0 + 1, self.asked.1 + rows);
        self.logits = self.rows.iter().flat_map(|row| self.of(row)).collect();
        Ok(&self.logits)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
        Ok(())
    }
}

/// Writes down what it is told.
#[derive(Default)]
struct Diary {
    told: Vec<(usize, i32)>,
    most: Option<usize>,
}

impl Observer for Diary {
    fn wrote(&mut self, row: usize, token: i32) -> Result<()> {
        self.told.push((row, token));
        Ok(())
    }

    fn interrupted(&self) -> bool {
        self.most == Some(self.told.len())
    }
}

fn strategy(choice: Choice) -> Strategy {
    Strategy { choice, repetition_penalty: 1.0 }
}

fn sample(temperature: f64, top_k: Option<usize>, top_p: f64) -> Strategy {
    strategy(Choice::Sample { temperature, top_k, top_p })
}

fn beam(width: usize, length_penalty: f64, early_stopping: EarlyStopping) -> Strategy {
    strategy(Choice::Beam { width, length_penalty, early_stopping })
}

fn ends(tokens: &[i32]) -> Ends {
    Ends::new(&tokens.iter().map(|&id| Token::Id(id)).collect::<Vec<_>>(), None).unwrap()
}

fn written(
    by: &Strategy,
    ends: &Ends,
    max: usize,
    seed: u64,
    begin: &[&[i32]],
    numbers: &[usize],
) -> Vec<Written> {
    let plan = Plan { by, ends, tokens: usize::MAX, max, seed };
    write(&mut Table::new(20), begin, numbers, &plan, &mut Diary::default()).unwrap()
}

fn tokens(by: &Strategy, begin: &[&[i32]]) -> Vec<Vec<i32>> {
    let numbers: Vec<usize> = (0..begin.len()).collect();
    written(by, &ends(&[3]), 12, 5, begin, &numbers).into_iter().map(|row| row.tokens).collect()
}

/// A token out of these logits, the first of its row.
fn chosen(logits: &[f32], by: &Strategy, draw: f64) -> Result<(i32, Option<f64>)> {
    let plan = Plan { by, ends: &ends(&[]), tokens: usize::MAX, max: 1, seed: 0 };
    choose::choose(logits, &[], &plan, draw)
}

const BEGIN: [&[i32]; 5] = [&[1, 2], &[4, 9], &[0, 0], &[17, 5], &[2, 2]];

#[test]
fn processors_leave_the_scores_that_those_of_transformers_leave() {
    let golden = include_str!("../../../tests/golden/generation/processors.json");
    let golden: Vec<Value> = serde_json::from_str(golden).unwrap();
    assert!(golden.len() >= 8);
    for case in golden {
        let numbers = |key: &str| -> Vec<f32> {
            case[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
        };
        let row: Vec<i32> = numbers("row").into_iter().map(|id| id as i32).collect();
        let by = &case["by"];
        let number = |key: &str| by[key].as_f64().unwrap_or(1.0);
        let top_k = by["top_k"].as_u64().map(|k| k as usize);
        let scores = choose::allowed(
            &numbers("logits"),
            &row,
            number("repetition_penalty"),
            number("temperature"),
            top_k,
            number("top_p"),
        );
        for (id, due) in case["scores"].as_array().unwrap().iter().enumerate() {
            let due = due.as_f64().unwrap_or(f64::NEG_INFINITY);
            let got = scores[id];
            assert!(got == due || (got - due).abs() < 1e-5, "{by}: score {id} is {got}, not {due}");
        }
    }
}

#[test]
fn one_choice_and_one_beam_are_greedy() {
    let greedy = tokens(&strategy(Choice::Greedy), &BEGIN);
    assert!(greedy.iter().any(|row| row.len() > 5), "{greedy:?}");
    assert_eq!(tokens(&sample(1.0, Some(1), 1.0), &BEGIN), greedy);
    assert_eq!(tokens(&sample(1.0, None, 1e-9), &BEGIN), greedy);
    assert_eq!(tokens(&beam(1, 1.0, EarlyStopping::Yes), &BEGIN), greedy);
}

#[test]
fn what_is_drawn_depends_on_seed_row_and_place_alone() {
    let by = sample(1.0, None, 1.0);
    let (never, numbers) = (ends(&[]), [0, 1, 2, 3, 4]);
    let all = written(&by, &never, 12, 5, &BEGIN, &numbers);
    assert_eq!(all, written(&by, &never, 12, 5, &BEGIN, &numbers));
    assert_ne!(all, written(&by, &never, 12, 6, &BEGIN, &numbers));
    // One at a time, and in another order.
    for row in numbers {
        assert_eq!(all[row], written(&by, &never, 12, 5, &[BEGIN[row]], &[row])[0]);
    }
    let mut turned = written(&by, &never, 12, 5, &[BEGIN[3], BEGIN[1]], &[3, 1]);
    turned.reverse();
    assert_eq!(turned, [all[1].clone(), all[3].clone()]);
    // Rows with the same beginning differ by their numbers.
    let same = written(&by, &never, 12, 5, &[BEGIN[0], BEGIN[0]], &[0, 1]);
    assert_ne!(same[0], same[1]);
}

#[test]
fn tokens_come_as_often_as_their_probabilities_say() {
    let logits = [0.0f32, 1.0, 2.0, -1.0];
    let by = sample(1.0, None, 1.0);
    let whole: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let mut counts = [0u32; 4];
    const DRAWS: u32 = 20_000;
    for draw in 0..DRAWS {
        let draw = f64::from(random::uniform(u64::from(draw), [1, 2], 3));
        let (token, score) = chosen(&logits, &by, draw).unwrap();
        let due = f64::from(logits[token as usize]) - whole.ln();
        assert!((score.unwrap() - due).abs() < 1e-9);
        counts[token as usize] += 1;
    }
    for (count, logit) in counts.into_iter().zip(logits) {
        let (share, due) = (f64::from(count) / f64::from(DRAWS), f64::from(logit).exp() / whole);
        // Five standard deviations.
        assert!((share - due).abs() < 5.0 * (due * (1.0 - due) / f64::from(DRAWS)).sqrt(), "{share} {due}");
    }
    // The ends of the range are drawn from the ends of the tokens.
    assert_eq!(chosen(&logits, &by, 0.0).unwrap().0, 0);
    assert_eq!(chosen(&logits, &by, 0.999_999_9).unwrap().0, 3);
}

#[test]
fn nothing_is_drawn_from_outside_of_what_is_allowed() {
    for (top_k, top_p) in [(Some(3), 1.0), (None, 0.6), (Some(6), 0.5)] {
        let table = Table::new(20);
        for seed in 0..40 {
            let row = &written(&sample(1.4, top_k, top_p), &ends(&[]), 10, seed, &BEGIN[..1], &[0])[0];
            let whole = [BEGIN[0], &row.tokens].concat();
            for at in 2..whole.len() {
                let mut logits = table.of(&whole[..at]);
                let mine = logits[whole[at] as usize];
                logits.sort_by(|a, b| b.total_cmp(a));
                let rank = logits.iter().position(|logit| *logit == mine).unwrap();
                assert!(rank < top_k.unwrap_or(20), "token {} has rank {rank}", whole[at]);
                let weights: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) / 1.4).exp()).collect();
                let kept = &weights[..top_k.unwrap_or(20)];
                // Those before it do not reach `top_p` by themselves.
                let before = kept[..rank].iter().sum::<f64>() / kept.iter().sum::<f64>();
                assert!(before < top_p, "{before}");
            }
        }
    }
}

#[test]
fn a_penalty_makes_repetitions_rarer() {
    let repeated = |penalty: f64| {
        let by = Strategy { repetition_penalty: penalty, ..strategy(Choice::Greedy) };
        let rows = written(&by, &ends(&[]), 15, 0, &BEGIN, &[0, 1, 2, 3, 4]);
        let distinct = |row: &Written| {
            let mut tokens = row.tokens.clone();
            tokens.sort_unstable();
            tokens.dedup();
            row.tokens.len() - tokens.len()
        };
        rows.iter().map(distinct).sum::<usize>()
    };
    assert!(repeated(1000.0) < repeated(1.0), "{} {}", repeated(1000.0), repeated(1.0));
    // Positive scores are divided, negative ones multiplied, each once.
    let mut scores = [2.0, -2.0, 2.0];
    penalise(&mut scores, &[0, 1, 0, 99, -1], 4.0);
    assert_eq!(scores, [0.5, -8.0, 2.0]);
}

#[test]
fn logits_that_no_token_is_for_are_never_chosen() {
    let ways = [
        strategy(Choice::Greedy),
        Strategy { choice: Choice::Greedy, repetition_penalty: 1.5 },
        sample(4.0, None, 1.0),
        sample(4.0, Some(12), 0.9),
        beam(6, 1.0, EarlyStopping::No),
    ];
    for by in ways {
        // The table has 20 logits; five of them are tokens, and 17 ends a row though it is none.
        let ends = ends(&[17]);
        let write = |tokens: usize, begin: &[&[i32]]| {
            let plan = Plan { by: &by, ends: &ends, tokens, max: 40, seed: 1 };
            write(&mut Table::new(20), begin, &[0, 1, 2, 3, 4], &plan, &mut Diary::default()).unwrap()
        };
        let all = write(usize::MAX, &BEGIN);
        assert!(all.iter().any(|row| row.tokens.iter().any(|&token| token >= 5)), "{by:?}");
        assert_eq!(write(20, &BEGIN), all, "{by:?}");
        let rows = write(5, &BEGIN);
        assert!(
            rows.iter().all(|row| row.tokens.iter().all(|token| (0..5).contains(token))),
            "{by:?} {rows:?}"
        );
        assert!(rows.iter().any(|row| row.ended || row.tokens.len() == 40), "{by:?}");
    }
}

#[test]
fn rows_that_ended_leave_and_the_others_go_on() {
    let (by, ends) = (strategy(Choice::Greedy), ends(&[3, 11]));
    let plan = Plan { by: &by, ends: &ends, tokens: usize::MAX, max: 30, seed: 0 };
    let (mut table, mut diary) = (Table::new(20), Diary::default());
    let rows = write(&mut table, &BEGIN, &[0, 1, 2, 3, 4], &plan, &mut diary).unwrap();
    assert!(rows.iter().any(|row| row.ended), "{rows:?}");
    for (number, row) in rows.iter().enumerate() {
        let alone = write(&mut Table::new(20), &[BEGIN[number]], &[number], &plan, &mut Diary::default());
        assert_eq!(alone.unwrap()[0], *row);
        let told: Vec<i32> = diary.told.iter().filter(|(row, _)| *row == number).map(|told| told.1).collect();
        assert_eq!(told, row.tokens);
        assert!(row.ended || row.tokens.len() == 30);
        assert!(!row.tokens.iter().any(|token| [3, 11].contains(token)));
    }
    // Each row was asked for as many logits as it needed.
    let needed: usize = rows.iter().map(|row| row.tokens.len() + usize::from(row.ended)).sum();
    assert_eq!(table.asked.1, needed);
}

#[test]
fn an_interruption_keeps_what_was_written() {
    let (by, ends) = (strategy(Choice::Greedy), ends(&[]));
    let plan = Plan { by: &by, ends: &ends, tokens: usize::MAX, max: 30, seed: 0 };
    let mut diary = Diary { most: Some(8), ..Diary::default() };
    let rows = write(&mut Table::new(20), &BEGIN[..2], &[0, 1], &plan, &mut diary).unwrap();
    assert_eq!(rows.iter().map(|row| (row.tokens.len(), row.ended)).collect::<Vec<_>>(), [(4, false); 2]);
    struct Never;
    impl Observer for Never {
        fn interrupted(&self) -> bool {
            true
        }
    }
    let by = beam(3, 1.0, EarlyStopping::No);
    let plan = Plan { by: &by, ..plan };
    let rows = write(&mut Table::new(20), &BEGIN[..1], &[0], &plan, &mut Never).unwrap();
    assert_eq!(rows[0].tokens, Vec::<i32>::new());
}

/// The best row of all there are, by the sum of log-probabilities over the length to the power of the penalty.
fn exhaustive(table: &Table, begin: &[i32], end: i32, max: usize, penalty: f64) -> (Vec<i32>, f64) {
    let mut best = (Vec::new(), f64::NEG_INFINITY);
    let mut open = vec![(Vec::new(), 0.0)];
    while let Some((row, sum)) = open.pop() {
        let logits = table.of(&[begin, &row].concat());
        let wide = logits.iter().map(|&logit| f64::from(logit));
        let whole = log_sum_exp(wide.clone());
        for (id, logit) in wide.enumerate() {
            let (row, sum) = ([row.as_slice(), &[id as i32]].concat(), sum + logit - whole);
            if id as i32 != end && row.len() < max {
                open.push((row, sum));
            } else if sum / (row.len() as f64).powf(penalty) > best.1 {
                best = (row.clone(), sum / (row.len() as f64).powf(penalty));
            }
        }
    }
    best
}

#[test]
fn wide_beams_find_the_best_row_of_all() {
    for (begin, penalty) in [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0), (0, 1.0)] {
        let table = Table::new(5);
        let (mut due, score) = exhaustive(&table, &[begin], 2, 4, penalty);
        let (by, ends) = (beam(500, penalty, EarlyStopping::Never), ends(&[2]));
        let plan = Plan { by: &by, ends: &ends, tokens: usize::MAX, max: 4, seed: 0 };
        let row = &write(&mut Table::new(5), &[&[begin]], &[0], &plan, &mut Diary::default()).unwrap()[0];
        assert_eq!(row.ended, due.last() == Some(&2));
        if row.ended {
            due.pop();
        }
        assert_eq!(row.tokens, due);
        assert!((row.score.unwrap() - score).abs() < 1e-9);
    }
}

#[test]
fn texts_beside_each_other_do_not_change_a_search() {
    for by in [
        beam(4, 1.0, EarlyStopping::No),
        beam(3, 0.3, EarlyStopping::Yes),
        beam(2, 2.0, EarlyStopping::Never),
    ] {
        let ends = ends(&[3, 8]);
        let all = written(&by, &ends, 10, 0, &BEGIN, &[0, 1, 2, 3, 4]);
        for (row, begin) in BEGIN.iter().enumerate() {
            assert_eq!(written(&by, &ends, 10, 0, &[begin], &[row])[0], all[row]);
        }
    }
}

#[test]
fn more_beams_than_tokens_are_no_mistake() {
    let (by, ends) = (beam(30, 1.0, EarlyStopping::No), ends(&[1]));
    let plan = Plan { by: &by, ends: &ends, tokens: usize::MAX, max: 6, seed: 0 };
    let rows = write(&mut Table::new(3), &[&[0], &[2]], &[0, 1], &plan, &mut Diary::default()).unwrap();
    assert!(rows.iter().all(|row| row.ended || row.tokens.len() == 6), "{rows:?}");
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    for by in [strategy(Choice::Greedy), sample(1.0, None, 1.0)] {
        let error = chosen(&[0.0, f32::NAN], &by, 0.5).unwrap_err().to_string();
        assert!(error.contains("not a number"), "{error}");
    }
}
