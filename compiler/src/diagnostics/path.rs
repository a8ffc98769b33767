//! "Did you mean" for the path of weights, such as `Bert.block.0.attend`: which step of it leads nowhere, and what stands there.

use super::{meant, nearest};

/// A step that stands for any, in a rule that loads weights: `{i}`.
fn is_any(step: &str) -> bool {
    step.starts_with('{') && step.ends_with('}')
}

/// What a path to no weight should have been, or what there is where it parts from all that there are.
pub fn did_you_mean_path<'a>(path: &str, weights: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let weights: Vec<&str> = weights.into_iter().collect();
    if !path.contains(['*', '{'])
        && let Some(meant) = nearest(path, weights.iter().copied())
    {
        return Some(format!("did you mean `{meant}`?"));
    }
    let mut reached: Vec<Vec<&str>> = weights.iter().map(|weight| weight.split('.').collect()).collect();
    let steps: Vec<&str> = path.split('.').collect();
    for (depth, step) in steps.iter().enumerate() {
        // A `*` stands for any number of steps, so that only the last one can be compared.
        if step.contains('*') {
            return last_step(&steps, &reached);
        }
        let next = |weight: &Vec<&'a str>| weight.get(depth).copied();
        if reached.iter().any(|weight| next(weight).is_some_and(|name| is_any(step) || name == *step)) {
            reached.retain(|weight| next(weight).is_some_and(|name| is_any(step) || name == *step));
            continue;
        }
        let names = distinct(reached.iter().filter_map(next));
        let before = &steps[..depth];
        if let Some(meant) = meant(step, &names) {
            let whole = [before, &[meant], &steps[depth + 1..]].concat().join(".");
            return Some(format!("did you mean `{whole}`?"));
        }
        return list(&before.join("."), &names);
    }
    // The path leads to weights, but is none.
    list(path, &distinct(reached.iter().filter_map(|weight| weight.get(steps.len()).copied())))
}

/// The same for the end of a pattern such as `*.bias`.
fn last_step(steps: &[&str], weights: &[Vec<&str>]) -> Option<String> {
    let (last, before) = steps.split_last()?;
    let names = distinct(weights.iter().filter_map(|weight| weight.last().copied()));
    let meant = meant(last, &names)?;
    Some(format!("did you mean `{}`?", [before, &[meant]].concat().join(".")))
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// "under `Bert` there are `places`, `words`", where they are few.
fn list(under: &str, names: &[&str]) -> Option<String> {
    if names.is_empty() || names.len() > 12 {
        return None;
    }
    let there = if names.len() == 1 { "there is" } else { "there are" };
    let there = if under.is_empty() { there.to_owned() } else { format!("under `{under}` {there}") };
    Some(format!("{there} `{}`", names.join("`, `")))
}

#[cfg(test)]
mod tests {
    use super::did_you_mean_path;

    #[test]
    fn a_path_is_mended_where_it_goes_astray() {
        let weights =
            ["Bert.words.table", "Bert.block.0.attend.out.weight", "Bert.block.0.norm.scale", "Head.weight"];
        let said = |path: &str| did_you_mean_path(path, weights);
        assert_eq!(said("Bert.words.tabel").as_deref(), Some("did you mean `Bert.words.table`?"));
        assert_eq!(said("Bert.wrods").as_deref(), Some("did you mean `Bert.words`?"));
        assert_eq!(said("Brt.*").as_deref(), Some("did you mean `Bert.*`?"));
        assert_eq!(said("*.wieght").as_deref(), Some("did you mean `*.weight`?"));
        assert_eq!(said("*_nrm.*"), None);
        assert_eq!(
            said("Bert.block.{i}.attention.weight").as_deref(),
            Some("under `Bert.block.{i}` there are `attend`, `norm`")
        );
        assert_eq!(
            said("Bert.block.0.attend").as_deref(),
            Some("under `Bert.block.0.attend` there is `out`")
        );
        assert_eq!(said("Generator").as_deref(), Some("there are `Bert`, `Head`"));
        assert_eq!(said("Head.weight"), None);
    }
}
