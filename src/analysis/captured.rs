//! What was seen before a flip, as it is kept beside the run: a verdict can be computed again from it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::block_judge::Seen;
use super::statistics::Blocks;
use crate::api::{Check, FORMAT_VERSION, Time};

/// The blocks of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Captured {
    /// The check.
    pub check: String,
    /// What was asked of each block.
    pub query: String,
    /// What the answer was divided by, or held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// What was answered.
    #[serde(flatten)]
    pub blocks: Blocks<Seen>,
}

/// The blocks of all checks of a run, up to its flip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baselines {
    /// The version of this format.
    pub format_version: i32,
    /// One for each check that judges by blocks.
    pub checks: Vec<Captured>,
}

impl Captured {
    /// What was seen of a check.
    pub fn new(check: &Check, blocks: Blocks<Seen>) -> Self {
        let queries = check.queries();
        let beside = queries.beside.map(|(_, query)| query.to_owned());
        Self { check: check.name.clone(), query: queries.value.1.to_owned(), beside, blocks }
    }

    /// When the last block ends.
    pub fn end(&self) -> Time {
        self.blocks.next() - self.blocks.block.delta()
    }
}

impl Baselines {
    /// Those of checks.
    pub fn new(checks: Vec<Captured>) -> Self {
        Self { format_version: FORMAT_VERSION, checks }
    }

    /// That of a check.
    pub fn of(&self, check: &Check) -> Option<&Captured> {
        self.checks.iter().find(|c| c.check == check.name)
    }

    /// As it is kept: JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// A sentence, where it is not what was kept under this hash, or a later version wrote it.
    pub fn read(text: &str, hash: &str) -> Result<Self, String> {
        if sha256(text) != hash {
            return Err("it is not what was kept: its SHA-256 is another".to_owned());
        }
        let read: Self = serde_json::from_str(text).map_err(|e| format!("it cannot be read: {e}"))?;
        if read.format_version > FORMAT_VERSION {
            return Err("a later version of Hoist wrote it; upgrade this one".to_owned());
        }
        Ok(read)
    }
}

/// The SHA-256 (FIPS 180-4) of a text, in hexadecimal digits.
pub fn sha256(text: &str) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    Sha256::digest(text.as_bytes()).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Duration;

    #[test]
    fn what_is_kept_is_read_back_as_it_was_or_not_at_all() {
        let check = serde_json::json!({ "name": "errors", "statistical": {
            "ratio": { "bad": "b", "total": "t" }, "direction": "Increase", "limit": { "absolute": "0.001" } } });
        let values = vec![Some(Seen(0.1, 16_777_215.0)), None, Some(Seen(1.0 / 3.0, 1e-30))];
        let blocks = Blocks { start: Time::UNIX_EPOCH, block: Duration::seconds(300), values };
        let check = serde_json::from_value(check).expect("a check");
        let kept = Baselines::new(vec![Captured::new(&check, blocks)]);
        let text = kept.text();
        assert!(text.contains(r#""values":[[0.1,16777215.0],null,[0.33333334,1e-30]]"#), "{text}");
        let hash = sha256(&text);
        assert_eq!(hash.len(), 64);
        assert_eq!(Baselines::read(&text, &hash).as_ref(), Ok(&kept));
        assert_eq!(kept.of(&check).map(Captured::end), Time::from_timestamp(900, 0));
        assert!(Baselines::read(&text.replace("0.1", "0.2"), &hash).is_err());
        let later = text.replace("\"formatVersion\":1", "\"formatVersion\":9");
        assert!(Baselines::read(&later, &sha256(&later)).expect_err("later").contains("upgrade"));
    }

    #[test]
    fn a_hash_is_the_one_that_others_compute() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
