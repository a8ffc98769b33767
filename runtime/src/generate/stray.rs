//! What it means that a step looked something up that is not there: a token that the model does not know, or a place after the last one
//! that it knows.

use super::Error;
use crate::program::DType;
use crate::tensor::Tensor;

/// An error of a step, told as what it means to whoever wrote the tokens. `tokens` are those of the step, and `length` of them are in
/// each row so far; `inputs` are the other ones of the model, by name.
///
/// An index may be a token's number as well as its place. It is a token where one of this number stands at this place of what was looked
/// up, or stands anywhere and the rows are not long enough for such a place.
pub fn explained<'i>(
    error: Error,
    tokens: &Tensor,
    length: usize,
    inputs: impl Iterator<Item = (&'i str, &'i Tensor)> + Clone,
) -> Error {
    let (path, file, line, stray) = match &error {
        Error::IndexOutOfRange { path, file, line, stray, .. } => (path, file, line, stray),
        // What a spec asks of a length no longer holds.
        Error::Guard { .. } => return Error::Full(Box::new(error)),
        _ => return error,
    };
    let inputs = inputs.filter(|(_, tensor)| tensor.dtype == DType::I32);
    let length =
        inputs.clone().filter_map(|(_, tensor)| tensor.shape.get(1).copied()).fold(length, usize::max);
    let mut all = [(None, tokens)].into_iter().chain(inputs.map(|(name, tensor)| (Some(name), tensor)));
    let there = |tensor: &Tensor| {
        let values = tensor.to_i32();
        stray.count > 1 && values.len() == stray.count && values.get(stray.place) == Some(&stray.index)
    };
    let is_place = usize::try_from(stray.index).is_ok_and(|place| place < length);
    let token = match is_place {
        true => all.find(|(_, tensor)| there(tensor)),
        false => all.find(|(_, tensor)| tensor.to_i32().contains(&stray.index)),
    };
    match token {
        Some((name, _)) => {
            let of = name.map_or(String::new(), |name| format!(" of `{name}`"));
            let known = match stray.rows {
                0 => "none".to_owned(),
                rows => format!("{rows}, 0 to {}", rows - 1),
            };
            let message = format!(
                "the token {}{of} is not in the model's vocabulary: `{path}` ({file}:{line}) has {known}",
                stray.index
            );
            Error::Generation { message }
        }
        None if is_place => Error::Full(Box::new(error)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StrayIndex;

    fn told(index: i32, place: usize, count: usize, tokens: &[i32], length: usize, source: &[i32]) -> Error {
        let stray = StrayIndex { index, place, count, rows: 30 };
        let error = Error::IndexOutOfRange {
            path: "M.table".into(),
            file: "m.weft".into(),
            line: 3,
            stray,
            row: None,
        };
        let tokens = Tensor::from_i32(&[1, tokens.len()], tokens);
        let source = Tensor::from_i32(&[1, source.len()], source);
        explained(error, &tokens, length, [("source", &source)].into_iter())
    }

    #[test]
    fn a_token_that_the_model_does_not_know_is_named() {
        let begun = told(30, 2, 3, &[1, 2, 30], 3, &[]).to_string();
        assert_eq!(
            begun,
            "the token 30 is not in the model's vocabulary: `M.table` (m.weft:3) has 30, 0 to 29"
        );
        assert!(told(-1, 0, 1, &[-1], 40, &[]).to_string().starts_with("the token -1 is"));
        let source = told(31, 1, 2, &[1], 1, &[4, 31]).to_string();
        assert!(source.starts_with("the token 31 of `source` is not"), "{source}");
        // In a row that is long enough for such a place, too.
        let long: Vec<i32> = (0..40).map(|at| if at == 7 { 33 } else { 1 }).collect();
        assert!(told(33, 7, 40, &[1], 1, &long).to_string().starts_with("the token 33 of `source`"));
    }

    #[test]
    fn a_place_after_the_last_one_is_no_token() {
        assert!(matches!(told(30, 30, 31, &[1; 31], 31, &[]), Error::Full(_)));
        assert!(
            matches!(told(30, 0, 1, &[30], 31, &[]), Error::Full(_)),
            "the token is written by the model"
        );
        assert!(matches!(told(30, 30, 31, &[1], 1, &[2; 31]), Error::Full(_)), "of the source");
        assert!(matches!(told(77, 0, 1, &[5], 12, &[]), Error::IndexOutOfRange { .. }));
    }
}
