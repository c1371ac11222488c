//! Settings that must be one of a few words, and a guess at the word that was meant.

use strsim::jaro;

/// How alike two words must be for the guess that one is a typo of the other, from 0 to 1. clap
/// uses the same bound.
const LIKENESS_MIN: f64 = 0.7;

/// The candidate that is most like `text`; `None` if none is like it.
pub fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase().replace('-', "_");
    let likeness = |candidate: &str| match candidate.to_lowercase() {
        // One text begins with the other: `warning` means `warn`, and `inf` means `info`.
        known if !text.is_empty() && (text.starts_with(&known) || known.starts_with(&text)) => 1.0,
        known => jaro(&text, &known),
    };
    let alike = candidates.into_iter().map(|candidate| (likeness(candidate), candidate));
    let best = alike.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > LIKENESS_MIN).then_some(best.1)
}

/// The end of a message about a word that is not one of `candidates`: a guess, or nothing.
pub fn did_you_mean<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(text, candidates).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"))
}

pub(super) fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let meant = did_you_mean(text, names.iter().copied());
        format!("`{text}` is none of {}{meant}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        for (text, meant) in [
            ("warning", Some("warn")),
            ("inf", Some("info")),
            ("Eror", Some("error")),
            ("loud", None),
            ("", None),
        ] {
            assert_eq!(closest(text, levels), meant, "{text}");
        }
        assert_eq!(did_you_mean("data-dir", ["data_dir"]), "; did you mean `data_dir`?");
        assert_eq!(did_you_mean("x", ["data_dir"]), "");
    }
}
