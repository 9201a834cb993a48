//! A long trial may take its arm ahead where the other arm's reserve can make both even again.

use super::super::Session;
use super::super::pace::Pace;
use super::ARMS;
use super::standing::Standing;

/// Share of what a trial would leave of the budget that the other arm's estimates are trusted to fit into.
const TRUSTED: f64 = 0.9;

impl Session<'_> {
    /// Whether both arms are even after so many more seconds of an arm (`[search, test]`), or the other arm's reserve would make them so in what
    /// is then left of the budget.
    pub(super) fn can_be_followed(
        &self,
        arm: usize,
        (standing, pace): (&Standing, &Pace),
        [search, test]: [f64; 2],
    ) -> bool {
        let other = 1 - arm;
        let ahead = standing.searched[arm] + search;
        let mut follower = standing.searched[other];
        let mut left = TRUSTED * (standing.left() - search - test);
        for extra in self.plan.reserve.of(ARMS[other]) {
            if Standing::is_even(follower, ahead) {
                break;
            }
            let room = left.min(ahead - follower);
            let step = self.step(other, extra, (standing, pace), room);
            let Some((_, [search, test])) = step else { continue };
            if search + test <= left && Standing::is_even(ahead, follower + search) {
                follower += search;
                left -= search + test;
            }
        }
        Standing::is_even(follower, ahead)
    }
}
