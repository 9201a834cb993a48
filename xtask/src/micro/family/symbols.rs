//! Tasks of random words, which mean nothing: what decides can only be learned from the context, and there is no end
//! of different tasks.

use super::{Families, Shape, Task, Text};
use crate::micro::dice::Dice;

impl<'l> Families<'l> {
    pub(super) fn keyword(&self, Shape { classes, .. }: Shape, dice: &mut Dice) -> Task<'l> {
        let each = *dice.pick(&[1, 1, 1, 2, 3, 4]);
        let keys = self.words(classes * each, dice);
        let size = *dice.pick(&[60, 200, 600]);
        let noise = self.words(size, dice);
        let length = dice.between(0, 10);
        let twice = dice.chance(0.3);
        let draw = move |class: usize, dice: &mut Dice| {
            let count = if length == 0 { 0 } else { (length + dice.below(3)).saturating_sub(1) };
            let mut text: Vec<u32> = (0..count).map(|_| *dice.pick(&noise)).collect();
            for _ in 0..if twice { 2 } else { 1 } {
                let at = dice.below(text.len() + 1);
                text.insert(at, *dice.pick(&keys[class * each..][..each]));
            }
            Text::Tokens(text)
        };
        Task { classes, names: None, language: false, draw: Box::new(draw) }
    }

    /// Every class has its own frequencies over some cue words, and all share a background in which, as in language,
    /// few words are frequent and many rare. Some cues belong to two classes.
    pub(super) fn mixture(&self, Shape { classes, .. }: Shape, dice: &mut Dice) -> Task<'l> {
        let each = dice.between(2, 12);
        let size = *dice.pick(&[40, 150, 500]);
        let background = Ranked::new(self.words(size, dice));
        let mut pool = self.words(classes * each, dice);
        for index in 0..pool.len() {
            if dice.chance(0.15) {
                let word = *dice.pick(&pool);
                pool[index] = word;
            }
        }
        let cues: Vec<Ranked> = pool.chunks(each).map(|own| Ranked::new(own.to_vec())).collect();
        let share = 0.25 + 0.4 * dice.unit();
        let draw = move |class: usize, dice: &mut Dice| {
            let length = dice.between(2, 12);
            let certain = dice.below(length);
            let text = (0..length).map(|at| {
                let cue = at == certain || dice.chance(share);
                if cue { cues[class].draw(dice) } else { background.draw(dice) }
            });
            Text::Tokens(text.collect())
        };
        Task { classes, names: None, language: false, draw: Box::new(draw) }
    }

    /// What the templates of the messages are, in random words: fixed words that several classes share, words of the
    /// class, choices, and open places that any word of a list fills.
    pub(super) fn pattern(&self, Shape { classes, breadth }: Shape, dice: &mut Dice) -> Task<'l> {
        let size = dice.between(8, 40);
        let shared = Ranked::new(self.words(size, dice));
        let open = self.words(size, dice);
        let ways = breadth.ways.min(6);
        let patterns: Vec<Vec<Vec<Place>>> =
            (0..classes).map(|_| (0..ways).map(|_| self.one_pattern(10, &shared, dice)).collect()).collect();
        let frills = dice.unit() * 0.4;
        let draw = move |class: usize, dice: &mut Dice| {
            let mut text = Vec::new();
            if dice.chance(frills) {
                text.push(shared.draw(dice));
            }
            for place in dice.pick(&patterns[class]) {
                match place {
                    Place::Choice(words) => text.push(*dice.pick(words)),
                    Place::Open => text.push(*dice.pick(&open)),
                }
            }
            if dice.chance(frills) {
                text.extend([shared.draw(dice), *dice.pick(&open)]);
            }
            Text::Tokens(text)
        };
        Task { classes, names: None, language: false, draw: Box::new(draw) }
    }

    fn one_pattern(&self, longest: usize, shared: &Ranked, dice: &mut Dice) -> Vec<Place> {
        let mut places: Vec<Place> = (0..dice.between(1, longest))
            .map(|_| match dice.below(10) {
                0..4 => Place::Choice(vec![shared.draw(dice)]),
                4 => Place::Choice((0..dice.between(2, 3)).map(|_| shared.draw(dice)).collect()),
                5 | 6 => Place::Open,
                7 => Place::Choice(self.words(1, dice)),
                _ => {
                    let options = dice.between(2, 3);
                    Place::Choice(self.words(options, dice))
                }
            })
            .collect();
        // One word at least is the pattern's own.
        let at = dice.below(places.len());
        let options = dice.between(1, 2);
        places[at] = Place::Choice(self.words(options, dice));
        places
    }

    pub(super) fn order(&self, dice: &mut Dice) -> Task<'l> {
        let size = dice.between(4, 80);
        let (pair, noise) = (self.words(2, dice), self.words(size, dice));
        let draw = move |class: usize, dice: &mut Dice| {
            let mut text: Vec<u32> = (0..dice.below(9)).map(|_| *dice.pick(&noise)).collect();
            let second = dice.below(text.len() + 1);
            text.insert(second, pair[1 - class]);
            let first = dice.below(second + 1);
            text.insert(first, pair[class]);
            Text::Tokens(text)
        };
        Task { classes: 2, names: None, language: false, draw: Box::new(draw) }
    }
}

/// A place in a pattern.
enum Place {
    /// One of these words.
    Choice(Vec<u32>),
    /// Any word of the task's list.
    Open,
}

/// Words of which the first is the most frequent: the frequency falls with the rank (Zipf 1935).
struct Ranked {
    words: Vec<u32>,
    /// Sums of the frequencies up to and including each word.
    sums: Vec<f64>,
}

impl Ranked {
    fn new(words: Vec<u32>) -> Self {
        let sums = (0..words.len())
            .scan(0.0, |sum, rank| {
                *sum += 1.0 / (rank as f64 + 2.0);
                Some(*sum)
            })
            .collect();
        Self { words, sums }
    }

    fn draw(&self, dice: &mut Dice) -> u32 {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let drawn = dice.unit() * total;
        let at = self.sums.partition_point(|sum| *sum <= drawn).min(self.words.len() - 1);
        self.words[at]
    }
}
