//! Secrets and personal data in texts: found by their form, and hidden before anything else sees them.
//!
//! What has a check digit is checked: payment cards by Luhn's formula (ISO/IEC 7812-1), bank accounts by IBAN's remainder of 97
//! (ISO 13616). The rest is told by form alone, so that a finding is a reason to look, not a proof.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// A finding in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `email`, `phone`, `card`, `iban`, `key`, `private_key`, `token`.
    pub kind: &'static str,
    /// Bytes of the text.
    pub range: Range<usize>,
    /// What is left of it when it is hidden: its kind, its length, and at most two characters at its beginning.
    pub redacted: String,
}

struct Detector {
    kind: &'static str,
    pattern: Regex,
    /// Whether what the pattern found is what it looks like.
    holds: fn(&str) -> bool,
}

/// In order: a place that an earlier one found is left to it.
static DETECTORS: LazyLock<Vec<Detector>> = LazyLock::new(|| {
    let detector = |kind, pattern: &str, holds| Detector {
        kind,
        pattern: Regex::new(pattern).expect("the pattern is constant"),
        holds,
    };
    vec![
        detector("private_key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----", |_| true),
        // Prefixes that providers publish for their keys.
        detector(
            "key",
            r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[0-9A-Za-z]{36,}\b|\bgithub_pat_[0-9A-Za-z_]{40,}\b|\bxox[abprs]-[0-9A-Za-z-]{10,}|\bsk-[0-9A-Za-z_-]{20,}|\bAIza[0-9A-Za-z_-]{35}|\bhf_[0-9A-Za-z]{30,}\b|\bglpat-[0-9A-Za-z_-]{20,}|\b[sr]k_live_[0-9A-Za-z]{20,}\b",
            |_| true,
        ),
        detector("token", r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}", |_| true),
        detector(
            "key",
            r#"(?i)\b(?:api[_ -]?key|secret|password|passwd|token)\b["']?\s*[:=]\s*["']?[^\s"',;]{8,}"#,
            |found| found.chars().any(|c| c.is_ascii_digit()),
        ),
        detector("email", r"(?i)\b[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b", |_| true),
        detector("iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?\b", is_iban),
        detector("card", r"\b[0-9](?:[ -]?[0-9]){12,18}\b", is_card),
        detector("phone", r"(?:\+|\b00)[1-9][0-9]{0,2}(?:[ ./()-]{0,2}[0-9]){6,13}\b", is_phone),
        detector(
            "phone",
            r"(?:\([0-9]{2,5}\)|\b0?[0-9]{2,4})[ ./-][0-9]{3,4}[ ./-][0-9]{3,5}\b",
            is_national_phone,
        ),
        // Without gaps, numbers of orders and accounts look alike: only what begins as a country's trunk prefix does.
        detector("phone", r"\b0[1-9][0-9]{8,9}\b", is_national_phone),
    ]
});

/// All findings in `text`, in order.
pub fn find(text: &str) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for detector in DETECTORS.iter() {
        for place in detector.pattern.find_iter(text) {
            let taken =
                found.iter().any(|other| place.start() < other.range.end && other.range.start < place.end());
            if !taken && (detector.holds)(place.as_str()) {
                let redacted = redact(detector.kind, place.as_str());
                found.push(Finding { kind: detector.kind, range: place.range(), redacted });
            }
        }
    }
    found.sort_by_key(|finding| finding.range.start);
    found
}

fn redact(kind: &str, text: &str) -> String {
    let beginning: String = text.chars().take(2).collect();
    format!("{beginning}… ({kind}, {} characters)", text.chars().count())
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|character| character.to_digit(10)).collect()
}

/// Luhn's formula, and not one digit throughout.
fn is_card(text: &str) -> bool {
    let digits = digits(text);
    let doubled = |(place, digit): (usize, &u32)| match (place % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) => {
            if twice > 9 {
                twice - 9
            } else {
                twice
            }
        }
    };
    let sum: u32 = digits.iter().rev().enumerate().map(doubled).sum();
    (13..=19).contains(&digits.len())
        && sum.is_multiple_of(10)
        && digits.iter().any(|digit| *digit != digits[0])
}

/// The first four characters moved to the end, letters as numbers from 10: the remainder of 97 is 1.
fn is_iban(text: &str) -> bool {
    let characters: Vec<char> = text.chars().filter(|character| !character.is_whitespace()).collect();
    if !(15..=34).contains(&characters.len()) {
        return false;
    }
    let moved = characters[4..].iter().chain(&characters[..4]);
    let remainder = moved
        .filter_map(|character| character.to_digit(36))
        .fold(0, |remainder, value| (remainder * if value > 9 { 100 } else { 10 } + value) % 97);
    remainder == 1
}

fn is_phone(text: &str) -> bool {
    (9..=15).contains(&digits(text).len())
}

/// Without the country's code there are at most eleven digits; twelve in groups of four are the beginning of a card.
fn is_national_phone(text: &str) -> bool {
    (9..=11).contains(&digits(text).len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<&'static str> {
        find(text).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn published_examples_are_found() {
        // Test card numbers of the payment networks; the examples of the IBAN registry; reserved phone numbers and domains.
        for (text, kind) in [
            ("pay with 4111 1111 1111 1111 please", "card"),
            ("378282246310005", "card"),
            ("5555-5555-5555-4444", "card"),
            ("to GB29 NWBK 6016 1331 9268 19 today", "iban"),
            ("DE89370400440532013000", "iban"),
            ("NL91 ABNA 0417 1643 00", "iban"),
            ("write to jane.doe+x@mail.example.com.", "email"),
            ("call +1 202-555-0143 now", "phone"),
            ("call 0044 20 7946 0958", "phone"),
            ("(020) 7946 0958", "phone"),
            ("my number is 07700900123", "phone"),
            ("AKIAIOSFODNN7EXAMPLE", "key"),
            ("api_key = 9f8e7d6c5b4a3210", "key"),
            ("-----BEGIN RSA PRIVATE KEY-----", "private_key"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4", "token"),
        ] {
            assert_eq!(kinds(text), [kind], "{text}");
        }
    }

    #[test]
    fn what_fails_its_check_is_not_a_finding() {
        for text in [
            "4111 1111 1111 1112",
            "GB29 NWBK 6016 1331 9268 18",
            "0000 0000 0000 0000",
            "order 12345678",
            "order 10000012345",
            "in 2024, 300 of 1200 items",
            "at 10:30 on 2024-05-06",
            "my password is lost, what now?",
            "the trip cost 23 euros",
        ] {
            assert_eq!(kinds(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn a_finding_shows_next_to_nothing() {
        let found = find("mail bob@example.org");
        assert_eq!(found[0].redacted, "bo… (email, 15 characters)");
        assert_eq!(&"mail bob@example.org"[found[0].range.clone()], "bob@example.org");
    }
}
