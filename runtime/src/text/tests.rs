use std::path::Path;

use serde_json::Value;

use super::*;
use crate::program::{Encoding, Vocabulary, VocabularySource};

const GOLDEN: &str = include_str!("../../../tests/golden/tokenizers/encodings.json");
const WORD_PIECE: &str = include_str!("../../../tests/golden/tokenizers/word_piece.json");
const BYTE_LEVEL: &str = include_str!("../../../tests/golden/tokenizers/byte_level.json");
const UNIGRAM: &str = include_str!("../../../tests/golden/tokenizers/unigram.json");

fn golden() -> Value {
    serde_json::from_str(GOLDEN).unwrap()
}

fn ids(value: &Value) -> Vec<i32> {
    value.as_array().unwrap().iter().map(|id| id.as_i64().unwrap() as i32).collect()
}

/// Holds a tokenizer against what Hugging Face's answers are.
fn agrees(tokenizer: &Tokenizer, answers: &Value) {
    let answers = answers.as_array().unwrap();
    assert!(answers.len() >= 9);
    for answer in answers {
        let text = answer["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, false).unwrap(), ids(&answer["bare"]), "{text:?}");
        assert_eq!(tokenizer.encode(text, true).unwrap(), ids(&answer["special"]), "{text:?}");
        assert_eq!(
            tokenizer.decode(&ids(&answer["special"]), false).unwrap(),
            answer["decoded"].as_str().unwrap(),
            "{text:?}"
        );
    }
}

#[test]
fn encodings_are_those_of_hugging_face() {
    let golden = golden();
    for (name, json) in [("word_piece", WORD_PIECE), ("byte_level", BYTE_LEVEL), ("unigram", UNIGRAM)] {
        agrees(&Tokenizer::from_json(name, json).unwrap(), &golden[name]);
    }
}

#[test]
#[ignore = "needs the tokenizer.json of all-MiniLM-L6-v2, at MINILM"]
fn encodings_of_minilm_are_those_of_hugging_face() {
    let folder = std::env::var("MINILM").unwrap();
    let json = std::fs::read_to_string(Path::new(&folder).join("tokenizer.json")).unwrap();
    agrees(&Tokenizer::from_json("minilm", &json).unwrap(), &golden()["minilm"]);
}

fn corpus() -> Vec<String> {
    golden()["corpus"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_string()).collect()
}

fn vocabulary(source: VocabularySource, size: usize) -> Vocabulary {
    Vocabulary { name: "verses.words".into(), source, size }
}

fn kinds() -> Vec<Vocabulary> {
    let texts = vec!["text".to_string()];
    vec![
        vocabulary(VocabularySource::WordLevel { texts: texts.clone(), lowercase: true }, 40),
        vocabulary(VocabularySource::Characters { texts: texts.clone() }, 60),
        vocabulary(VocabularySource::Bpe { texts: texts.clone() }, 300),
        vocabulary(VocabularySource::Unigram { texts }, 120),
    ]
}

fn trained(vocabulary: &Vocabulary, threads: usize) -> Tokenizer {
    let corpus = corpus();
    let texts: Vec<&str> = corpus.iter().map(String::as_str).collect();
    train(vocabulary, &texts, threads).unwrap()
}

#[test]
fn trained_vocabularies_are_the_same_bytes_for_every_number_of_threads() {
    for vocabulary in kinds() {
        let first = trained(&vocabulary, 1);
        assert!(first.size() <= vocabulary.size, "{first:?}");
        for threads in [1, 2, 3, 9] {
            assert_eq!(trained(&vocabulary, threads).json(), first.json(), "{:?}", vocabulary.source);
        }
        for (id, token) in SPECIAL.iter().enumerate() {
            assert_eq!(first.id_of(token), Some(id as i32), "{:?}", vocabulary.source);
        }
        assert_eq!(first.pad(), 0);
    }
}

#[test]
fn byte_pairs_are_merged_as_hugging_face_merges_them() {
    let ours = trained(&vocabulary(VocabularySource::Bpe { texts: vec![] }, 400), 2);
    let [ours, theirs] = [ours.json(), BYTE_LEVEL].map(|json| serde_json::from_str::<Value>(json).unwrap());
    let merges = |file: &Value| file["model"]["merges"].as_array().unwrap().clone();
    assert!(merges(&theirs).len() > 60);
    assert_eq!(merges(&ours), merges(&theirs));
    assert_eq!(ours["model"]["vocab"], theirs["model"]["vocab"]);
}

#[test]
fn bytes_and_letters_come_back_as_they_went_in() {
    for (vocabulary, texts) in [
        (&kinds()[2], vec!["naïve 日本語 🎈\n\ttabs  ", "", "\u{0}"]),
        (&kinds()[1], vec!["In the beginning\u{20}", "creó"]),
    ] {
        let tokenizer = trained(vocabulary, 1);
        for text in texts {
            let tokens = tokenizer.encode(text, true).unwrap();
            assert_eq!(tokenizer.decode(&tokens, true).unwrap(), text);
        }
    }
}

#[test]
fn pieces_are_learned_that_stand_often() {
    let tokenizer = trained(&kinds()[3], 1);
    let tokens = tokenizer.encode("the waters of the earth", false).unwrap();
    let words: Vec<String> = tokens.iter().map(|id| tokenizer.token_of(*id).unwrap()).collect();
    assert!(words.contains(&"▁the".to_string()), "{words:?}");
    assert!(tokens.len() < "the waters of the earth".len() / 2, "{words:?}");
    assert_eq!(tokenizer.decode(&tokens, false).unwrap(), "the waters of the earth");
}

#[test]
fn words_are_the_most_frequent_ones_and_others_unknown() {
    let tokenizer = trained(&kinds()[0], 1);
    assert_eq!(tokenizer.token_of(4).as_deref(), Some("the"));
    let unknown = tokenizer.id_of("<unk>").unwrap();
    assert_eq!(tokenizer.encode("The zebra", false).unwrap(), [4, unknown]);
    assert_eq!(tokenizer.encode("", false).unwrap(), Vec::<i32>::new());
}

#[test]
fn text_streams_letter_by_letter() {
    for (tokenizer, text) in [
        (trained(&kinds()[2], 1), "naïve 日本語 🎈 light"),
        (trained(&kinds()[3], 1), "the light of the earth"),
        (Tokenizer::from_json("bert", WORD_PIECE).unwrap(), "let there be light"),
    ] {
        let mut stream = tokenizer.stream();
        let mut said = String::new();
        for id in tokenizer.encode(text, false).unwrap() {
            let new = stream.push(id).unwrap();
            assert!(!new.contains('\u{fffd}'), "{new:?}");
            said += &new;
        }
        said += &stream.end().unwrap();
        assert_eq!(said, text);
    }
}

fn encoding() -> Encoding {
    Encoding {
        vocabulary: "words".into(),
        max_length: None,
        keep_end: false,
        fixed: false,
        special: true,
        begin: None,
        end: None,
        window: None,
    }
}

#[test]
fn a_long_text_loses_an_end_but_not_what_stands_around_it() {
    let bert = Tokenizer::from_json("bert", WORD_PIECE).unwrap();
    let text = "And God said, Let there be light";
    let whole = bert.encode(text, false).unwrap();
    let (cls, sep) = (bert.id_of("[CLS]").unwrap(), bert.id_of("[SEP]").unwrap());
    for keep_end in [false, true] {
        let encoder = Encoder::new(&bert, &Encoding { max_length: Some(6), keep_end, ..encoding() }).unwrap();
        let kept = if keep_end { &whole[whole.len() - 4..] } else { &whole[..4] };
        assert_eq!(encoder.encode(text).unwrap(), [&[cls], kept, &[sep]].concat());
        assert_eq!(encoder.encode("").unwrap(), [cls, sep]);
    }
    let bare =
        Encoding { special: false, begin: Some("[MASK]".into()), end: Some("[SEP]".into()), ..encoding() };
    let encoder = Encoder::new(&bert, &bare).unwrap();
    assert_eq!(encoder.encode(text).unwrap(), [&[4], whole.as_slice(), &[sep]].concat());
}

#[test]
fn what_a_spec_asks_in_vain_is_said() {
    let bert = Tokenizer::from_json("bert", WORD_PIECE).unwrap();
    let message = |encoding: Encoding| Encoder::new(&bert, &encoding).unwrap_err().to_string();
    assert_eq!(
        message(Encoding { end: Some("[SEPP]".into()), ..encoding() }),
        "tokenizer `words`: it has no token `[SEPP]`; did you mean `[SEP]`?"
    );
    assert_eq!(
        message(Encoding { max_length: Some(2), ..encoding() }),
        "tokenizer `words`: max_length = 2 leaves no room for a text: 2 tokens stand around each"
    );
    let folder = crate::io::testing::Folder::new();
    folder.file("bert.json", WORD_PIECE.as_bytes());
    let small = vocabulary(VocabularySource::File("bert.json".into()), 100);
    let message = small.tokenizer(&[], folder.path()).unwrap_err().to_string();
    assert!(message.contains("it has 200 tokens, but the spec says size = 100"), "{message}");
    let fits = Vocabulary { size: 200, ..small.clone() };
    assert_eq!(fits.tokenizer(&[], folder.path()).unwrap().unwrap().size(), 200);
    let absent = vocabulary(VocabularySource::File("absent.json".into()), 100);
    assert!(absent.tokenizer(&[], folder.path()).unwrap_err().to_string().contains("absent.json"));
    // What was kept with weights comes before the file.
    let kept = [("verses.words".to_string(), UNIGRAM.to_string())];
    assert_eq!(small.tokenizer(&kept, folder.path()).unwrap().unwrap().json(), UNIGRAM);
}

#[test]
fn files_that_are_cut_or_lie_are_errors() {
    for json in [WORD_PIECE, BYTE_LEVEL, UNIGRAM] {
        for cut in (0..json.len()).step_by(97).filter(|cut| json.is_char_boundary(*cut)) {
            assert!(Tokenizer::from_json("cut", &json[..cut]).is_err(), "{cut}");
        }
    }
    let changed = |json: &str, from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        Tokenizer::from_json("changed", &json.replacen(from, to, 1)).map(|_| ()).unwrap_err().to_string()
    };
    let far = changed(WORD_PIECE, "\"and\":", "\"andd\":4000000000,\"and\":");
    assert!(far.contains("has the number 4000000000, but a vocabulary has at most"), "{far}");
    let merge = changed(BYTE_LEVEL, "\"merges\":[", "\"merges\":[[\"no such\",\"pair\"],");
    assert!(merge.contains("this is no tokenizer.json"), "{merge}");
    let none = Tokenizer::from_json(
        "none",
        "{\"version\":\"1.0\",\"model\":{\"type\":\"WordLevel\",\"vocab\":{},\"unk_token\":\"u\"}}",
    );
    assert!(none.is_err());
    assert!(
        Tokenizer::from_json("text", "no json at all")
            .unwrap_err()
            .to_string()
            .contains("this is no tokenizer.json")
    );
}

#[test]
fn nothing_to_learn_from_is_an_error() {
    for vocabulary in kinds() {
        let error = train(&vocabulary, &["", ""], 2).unwrap_err().to_string();
        assert_eq!(error, "tokenizer `verses.words`: there is no word in the training texts");
    }
}

#[test]
fn bleu_and_chrf_are_those_of_sacrebleu() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../tests/golden/tokenizers/overlap.json")).unwrap();
    let golden = golden.as_array().unwrap();
    assert!(golden.len() >= 9);
    for case in golden {
        let texts = |key: &str| -> Vec<&str> {
            case[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
        };
        let (texts, references) = (texts("texts"), texts("references"));
        for (name, figure) in
            [("bleu", overlap::bleu(&texts, &references)), ("chrf", overlap::chrf(&texts, &references))]
        {
            let expected = case[name].as_f64().unwrap();
            assert!((figure - expected).abs() < 1e-9, "{name} of {texts:?}: {figure}, not {expected}");
        }
    }
}

#[test]
fn bytes_are_their_own_numbers() {
    let bytes = vocabulary(VocabularySource::Bytes, 256).tokenizer(&[], Path::new("")).unwrap().unwrap();
    assert_eq!(bytes.size(), 256);
    let every: String = (0..=0x4ff).filter_map(char::from_u32).collect();
    for text in [&every, "naïve 日本語 🎈\n\ttabs  ", "a\u{0}b", ""] {
        let tokens = bytes.encode(text, true).unwrap();
        assert_eq!(tokens, text.bytes().map(i32::from).collect::<Vec<_>>());
        assert_eq!(bytes.decode(&tokens, false).unwrap(), text);
    }
    assert_eq!(bytes.id_of("<s>"), None);
}

#[test]
fn bytes_are_what_the_library_reads_in_their_file() {
    let bytes = Tokenizer::of_bytes("bytes");
    let read = Model::from_json(bytes.json()).unwrap();
    assert!(is_bytes(bytes.json()) && !is_bytes(BYTE_LEVEL));
    assert_eq!((bytes.size(), bytes.pad()), (read.size(), 0));
    assert_eq!(read.pad(), None);
    let every: String = (0..=0x4ff).filter_map(char::from_u32).collect();
    for text in [&every, "naïve 日本語 🎈\n\ttabs  ", "it's  two spaces ", ""] {
        for special in [false, true] {
            assert_eq!(bytes.encode(text, special).unwrap(), read.encode(text, special).unwrap(), "{text:?}");
        }
    }
    // Bytes in any order are mostly no UTF-8; numbers beyond are no token.
    let mut ids: Vec<u32> = (0..3000u32).map(|i| i.wrapping_mul(2_654_435_761) >> 24).collect();
    ids.extend([256, 70_000, u32::MAX >> 1]);
    for ids in ids.chunks(7).chain([&ids[..]]) {
        let given: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        assert_eq!(bytes.decode(&given, false).unwrap(), read.decode(ids, false).unwrap(), "{ids:?}");
    }
    for id in 0..300 {
        let token = read.token_of(id);
        assert_eq!(bytes.token_of(id as i32), token);
        if let Some(token) = token {
            assert_eq!(bytes.id_of(&token), Some(id as i32));
        }
    }
    for token in ["", "ab", "\u{200}", "日"] {
        assert_eq!(bytes.id_of(token), read.id_of(token).map(|id| id as i32), "{token:?}");
    }
}

/// The pieces of a text that is gone on with, and what they are together.
fn pieces(tokenizer: &Tokenizer, text: &str, begin: usize, ends: &[&str]) -> (Vec<String>, String) {
    let ends: Vec<String> = ends.iter().map(|end| end.to_string()).collect();
    let tokens = tokenizer.encode(text, false).unwrap();
    let (before, new) = tokens.split_at(begin);
    let mut piece = Piece::new(Some(tokenizer), before, &ends);
    let mut all: Vec<String> = new.iter().map(|&token| piece.push(token).unwrap()).collect();
    all.push(piece.end().unwrap());
    assert_eq!(all.concat(), piece.into_text());
    let text = all.concat();
    (all, text)
}

#[test]
fn pieces_are_together_what_the_tokens_say_behind_the_beginning() {
    let unigram = Tokenizer::from_json("unigram", UNIGRAM).unwrap();
    let bert = Tokenizer::from_json("bert", WORD_PIECE).unwrap();
    let bytes = vocabulary(VocabularySource::Bytes, 256).tokenizer(&[], Path::new("")).unwrap().unwrap();
    for tokenizer in [unigram, bert, bytes, trained(&kinds()[2], 1)] {
        let text = "let there be light";
        let tokens = tokenizer.encode(text, false).unwrap();
        for begin in 0..=tokens.len() {
            let (pieces, new) = pieces(&tokenizer, text, begin, &[]);
            let before = tokenizer.decode(&tokens[..begin], false).unwrap();
            assert_eq!(before + &new, text, "{pieces:?}");
        }
    }
}

#[test]
fn a_text_ends_before_what_ends_it_and_shows_nothing_of_it() {
    let bytes = vocabulary(VocabularySource::Bytes, 256).tokenizer(&[], Path::new("")).unwrap().unwrap();
    for (text, ends, due) in [
        ("one\n\ntwo", &["\n\n"][..], "one"),
        ("one\ntwo\n", &["\n\n"], "one\ntwo\n"),
        ("aaab", &["aab"], "a"),
        ("one STOP", &["STOP", "ne"], "o"),
        ("é STOP é", &["STOP"], "é "),
        ("none", &[], "none"),
    ] {
        let (pieces, new) = pieces(&bytes, text, 0, ends);
        assert_eq!(new, due, "{pieces:?}");
    }
    // What may be the beginning of an end waits until it is known.
    let (pieces, _) = pieces(&bytes, "a\nb\n", 0, &["\n\n"]);
    assert_eq!(pieces, ["a", "", "\nb", "", "\n"]);
}

#[test]
fn what_has_the_form_of_a_special_token_is_told_from_text() {
    for special in ["<s>", "</s>", "[SEP]", "<|endoftext|>"] {
        assert!(is_special(special), "{special}");
    }
    for text in ["", "<>", "[]", "\n\n", "< s>", "a <b>", "THE END", "["] {
        assert!(!is_special(text), "{text}");
    }
}
