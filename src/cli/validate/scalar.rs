//! What an unquoted scalar means, which depends on the version of YAML that is read.

use serde_json::Number;

/// What a plain scalar is read as.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    Null,
    Bool(bool),
    Number(Number),
    Text,
    /// YAML 1.2 reads something else, mostly text, than YAML 1.1, which reads this.
    Disputed(String),
}

/// Reads a plain scalar.
///
/// # Source
/// The core schema of YAML 1.2 and the types of YAML 1.1. kubectl's library reads 1.1, with three exceptions that do
/// not matter here: it leaves base 60 and dates as text, and knows `0o17`.
pub(super) fn read(text: &str) -> Reading {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Reading::Null,
        "true" | "True" | "TRUE" => Reading::Bool(true),
        "false" | "False" | "FALSE" => Reading::Bool(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Reading::Disputed("the boolean true".to_owned()),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Reading::Disputed("the boolean false".to_owned()),
        _ => number(text),
    }
}

fn number(text: &str) -> Reading {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { "-" } else { "" };
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Reading::Text;
    }
    if let Some(minutes) = base_60(unsigned) {
        return Reading::Disputed(format!("the number {sign}{minutes}"));
    }
    let plain = unsigned.replace('_', "");
    for (prefix, radix, disputed) in [("0x", 16, false), ("0o", 8, false), ("0b", 2, true)] {
        if let Some(value) = plain.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok()) {
            return settled(&format!("{sign}{value}"), disputed || plain != unsigned);
        }
    }
    if plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| b.is_ascii_digit()) {
        return match u64::from_str_radix(&plain, 8) {
            Ok(value) => Reading::Disputed(format!("the number {sign}{value}")),
            Err(_) => settled(&format!("{sign}{}", plain.trim_start_matches('0')), plain != unsigned),
        };
    }
    if !is_decimal(&plain) {
        return Reading::Text;
    }
    settled(&format!("{sign}{plain}"), plain != unsigned)
}

/// `12:30:00` is a number to YAML 1.1: hours, minutes and seconds in base 60.
fn base_60(unsigned: &str) -> Option<u64> {
    let mut parts = unsigned.split(':');
    let first = parts.next().filter(|f| !f.starts_with('0') || *f == "0")?.parse::<u64>().ok()?;
    let mut rest = parts.peekable();
    rest.peek()?;
    rest.try_fold(first, |total, part| {
        let part: u64 = part.parse().ok().filter(|p| *p < 60)?;
        total.checked_mul(60)?.checked_add(part)
    })
}

/// Digits, with at most one point and an exponent.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let points = mantissa.bytes().filter(|b| *b == b'.').count();
    let exponent_is_fine = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit())
    });
    digits > 0 && points <= 1 && digits + points == mantissa.len() && exponent_is_fine
}

fn settled(written: &str, disputed: bool) -> Reading {
    let number = written
        .parse::<i64>()
        .map(Number::from)
        .ok()
        .or_else(|| Number::from_f64(written.parse::<f64>().ok().filter(|f| f.is_finite())?));
    match number {
        None => Reading::Text,
        Some(number) if disputed => Reading::Disputed(format!("the number {number}")),
        Some(number) => Reading::Number(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_agree_on_the_ordinary() {
        assert_eq!(read("true"), Reading::Bool(true));
        assert_eq!(read(""), Reading::Null);
        for (text, number) in [("0", 0), ("15", 15), ("-3", -3), ("+7", 7), ("0x1F", 31), ("0o17", 15), ("08", 8)] {
            assert_eq!(read(text), Reading::Number(Number::from(number)), "{text}");
        }
        assert_eq!(read("0.05"), Reading::Number(Number::from_f64(0.05).expect("finite")));
        assert_eq!(read("1e3"), Reading::Number(Number::from_f64(1000.0).expect("finite")));
        for text in
            ["72h", "1.2.3", "a", "-", "+", ".", "conduit", "2025-05-05T00:00:00Z", "1e", "0x", "0xg", "é", "5m:3"]
        {
            assert_eq!(read(text), Reading::Text, "{text}");
        }
    }

    #[test]
    fn what_they_read_differently_is_disputed() {
        for (text, other) in [
            ("on", "the boolean true"),
            ("No", "the boolean false"),
            ("y", "the boolean true"),
            ("010", "the number 8"),
            ("-010", "the number -8"),
            ("1_000", "the number 1000"),
            ("0b11", "the number 3"),
            ("12:30:00", "the number 45000"),
            ("1:30", "the number 90"),
        ] {
            assert_eq!(read(text), Reading::Disputed(other.to_owned()), "{text}");
        }
    }
}
