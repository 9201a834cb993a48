use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[test]
fn texts_are_normalised_as_documented() {
    for (text, normal) in [
        ("  What's  my\nbalance?? ", "what s my balance"),
        ("Where is my card?", "where is my card"),
        ("WHERE IS MY CARD", "where is my card"),
        ("\u{fb01}ne \u{ff21}\u{ff22}", "fine ab"),
        ("cafe\u{301}", "caf\u{e9}"),
        ("3.50 $ + 2", "3 50 $ + 2"),
        ("gut \u{1f44d}", "gut \u{1f44d}"),
        ("\u{ab}Oui\u{bb}\u{2026}", "oui"),
        ("???", "???"),
        ("", ""),
    ] {
        assert_eq!(normalise(text), normal, "{text:?}");
    }
}

fn groups(texts: &[&str]) -> Vec<usize> {
    group(texts, true).of
}

#[test]
fn a_small_change_of_a_long_text_is_a_near_duplicate_and_of_a_short_one_is_not() {
    // With a space at either end, 46 characters have 45 runs of four and 47 have 46; 44 are common: J = 44/47 = 0.94.
    assert_eq!(
        groups(&[
            "i would like to know where my new debit card i",
            "i would like to know where my new debit card is"
        ]),
        [0, 0]
    );
    // 8 characters have 7 runs, 9 have 8; 6 are common: J = 6/9.
    assert_eq!(groups(&["number 1", "number 10"]), [0, 1]);
    assert_eq!(groups(&["transfer 100 to bob", "transfer 200 to bob"]), [0, 1]);
    assert_eq!(groups(&["a", "b", "a"]), [0, 1, 0]);
}

#[test]
fn groups_are_transitive_and_counted() {
    let long = "the quick brown fox jumps over the lazy dog and runs away from the farm";
    let one = format!("{long}s");
    let two = format!("{one}!s");
    let grouping = group(&[long, &one, &two, "something else"], true);
    assert_eq!(grouping, Grouping { of: vec![0, 0, 0, 1], count: 2 });
    assert_eq!(grouping.repeated(), (1, 3));
    assert_eq!(group(&[long, &one, long], false).of, [0, 1, 0], "near = false joins equal texts only");
}

#[test]
fn very_long_texts_are_compared_by_their_ends() {
    let words: Vec<String> = (0..3_000).map(|number| format!("word{number}")).collect();
    let one = words.join(" ");
    let two = one.replace("word1500 ", "changed ");
    let other: Vec<String> = (0..3_000).map(|number| format!("term{number}")).collect();
    assert_eq!(groups(&[&one, &two, &other.join(" ")]), [0, 0, 1]);
}

#[test]
fn ten_thousand_rows_of_one_mould_do_not_take_quadratic_time() {
    // All pairs would be 50 million comparisons; this is to end within the time of a unit test.
    let texts: Vec<String> = (0..10_000)
        .map(|number| format!("your order number {number} was sent to your address yesterday"))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert!(group(&texts, true).count < texts.len());
}

/// The definition, by comparing all with all.
fn jaccard(a: &str, b: &str) -> f64 {
    let runs = |text: &str| -> HashSet<Vec<char>> {
        let padded: Vec<char> = format!(" {text} ").chars().collect();
        padded.windows(4.min(padded.len())).map(<[char]>::to_vec).collect()
    };
    let (a, b) = (runs(a), runs(b));
    let common = a.intersection(&b).count();
    common as f64 / (a.len() + b.len() - common) as f64
}

fn brute_force(texts: &[String]) -> Vec<usize> {
    let mut union = Union::new(texts.len());
    for i in 0..texts.len() {
        for j in 0..i {
            if jaccard(&texts[i], &texts[j]) >= 0.9 {
                union.join(i, j);
            }
        }
    }
    (0..texts.len()).map(|text| union.root(text)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_index_finds_what_comparing_all_with_all_finds(
        texts in prop::collection::vec("[ab ]{0,12}|([a-d]{3,6} ){4,9}", 1..40),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..60, "[a-d ]{0,2}"), 0..20),
    ) {
        let mut texts = texts;
        for (index, place, text) in edits {
            let mut edited: Vec<char> = index.get(&texts).chars().collect();
            let place = place.min(edited.len());
            edited.splice(place..(place + 1).min(edited.len()), text.chars());
            texts.push(edited.into_iter().collect());
        }
        let expected = brute_force(&texts);
        let found = group(&texts.iter().map(String::as_str).collect::<Vec<_>>(), true);
        for i in 0..texts.len() {
            for j in 0..i {
                prop_assert_eq!(
                    found.of[i] == found.of[j], expected[i] == expected[j], "{:?} and {:?}", texts[i], texts[j]
                );
            }
        }
    }
}
