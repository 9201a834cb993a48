use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

const SHARES: Shares = Shares { dev: 0.15, test: 0.2 };

fn hashes(count: usize) -> Vec<[u8; 32]> {
    (0..count).map(|number| content_hash(&format!("text {number}"))).collect()
}

fn items<'a>(hashes: &'a [[u8; 32]], groups: &[usize], labels: &'a [&'a str]) -> Vec<Item<'a>> {
    hashes
        .iter()
        .zip(groups)
        .zip(labels.iter().cycle())
        .map(|((hash, group), label)| Item { hash, group: *group, label, fixed: None })
        .collect()
}

#[test]
fn the_hash_of_a_text_is_fixed_for_all_time() {
    // printf 'weigh split 1\0where is my card' | sha256sum
    let expected = "39c0efd160ee8496ca776dbaf96349753456cfc30e437833db6aa0f0dc43b395";
    assert_eq!(crate::settings::hexadecimal(&content_hash("where is my card")), expected);
}

#[test]
fn parts_have_their_shares() {
    let hashes = hashes(10_000);
    let groups: Vec<usize> = (0..hashes.len()).collect();
    let parts = split(&items(&hashes, &groups, &["a", "b"]), SHARES);
    let count = |part| parts.iter().filter(|found| **found == part).count() as f64;
    // Five standard deviations of a binomial draw: 5 sqrt(10000 p (1 - p)).
    assert!((count(Part::Test) - 2_000.0).abs() < 200.0);
    assert!((count(Part::Dev) - 1_500.0).abs() < 179.0);
}

#[test]
fn a_label_keeps_a_training_row() {
    // Ten labels of one row each: without mending, about a third of them would have none.
    let hashes = hashes(10);
    let groups: Vec<usize> = (0..10).collect();
    let labels: Vec<String> = (0..10).map(|label| label.to_string()).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let parts = split(&items(&hashes, &groups, &labels), SHARES);
    assert_eq!(parts, [Part::Train; 10]);
}

#[test]
fn rows_of_given_files_stay_where_they_are() {
    let hashes = hashes(100);
    let groups: Vec<usize> = (0..100).collect();
    let mut items = items(&hashes, &groups, &["a", "b"]);
    items[..50].iter_mut().for_each(|item| item.fixed = Some(Part::Test));
    let parts = split(&items, Shares { dev: 0.5, test: 0.0 });
    assert!(parts[..50].iter().all(|part| *part == Part::Test));
    assert!(parts[50..].iter().all(|part| *part != Part::Test));
}

proptest! {
    #[test]
    fn a_group_is_in_one_part_whatever_the_order(
        groups in prop::collection::vec(0usize..30, 1..120),
        seed in any::<prop::sample::Index>(),
    ) {
        let hashes = hashes(groups.len());
        let items = items(&hashes, &groups, &["a", "b", "c"]);
        let parts = split(&items, SHARES);
        let mut part_of = HashMap::new();
        for (group, part) in groups.iter().zip(&parts) {
            prop_assert_eq!(part_of.entry(group).or_insert(part), &part);
        }
        let by = seed.index(items.len());
        let mut rotated = items.clone();
        rotated.rotate_left(by);
        let mut expected = parts.clone();
        expected.rotate_left(by);
        prop_assert_eq!(split(&rotated, SHARES), expected);
    }

    #[test]
    fn rows_keep_their_part_when_others_are_added(before in 60usize..150, more in 1usize..150) {
        // With twenty rows and more, a label has training rows of its own, and nothing is mended.
        let hashes = hashes(before + more);
        let groups: Vec<usize> = (0..hashes.len()).collect();
        let items = items(&hashes, &groups, &["a", "b", "c"]);
        let parts = split(&items[..before], SHARES);
        prop_assert_eq!(&split(&items, SHARES)[..before], &parts[..]);
    }

    #[test]
    fn every_label_is_trained_on(labels in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d", "e"]), 1..40)) {
        let hashes = hashes(labels.len());
        let groups: Vec<usize> = (0..labels.len()).map(|row| row / 2).collect();
        let items: Vec<Item<'_>> = hashes
            .iter().zip(&groups).zip(&labels)
            .map(|((hash, group), label)| Item { hash, group: *group, label, fixed: None })
            .collect();
        let parts = split(&items, SHARES);
        let trained: HashSet<_> =
            items.iter().zip(&parts).filter(|(_, part)| **part == Part::Train).map(|(item, _)| item.label).collect();
        prop_assert_eq!(trained, labels.into_iter().collect::<HashSet<_>>());
    }
}
