//! What somebody may have meant.

pub(super) use crate::engine::nearest;

/// `did you mean ...?`, or the words that are known.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(meant) = nearest(word, known.clone()) {
        return format!("did you mean `{meant}`?");
    }
    let known: Vec<&str> = known.into_iter().collect();
    if known.is_empty() { "nothing is known here".to_owned() } else { format!("known here: {}", known.join(", ")) }
}
