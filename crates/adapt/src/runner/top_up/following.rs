//! A long trial may take its arm ahead where the other arm's reserve can make both even again.

use super::super::Session;
use super::standing::Standing;
use super::{ARMS, Step};
use crate::Error;

/// Share of what a trial would leave of the budget that the other arm's estimates are trusted to fit into.
const TRUSTED: f64 = 0.9;

impl Session<'_> {
    /// Whether, after so many more seconds of an arm (`[search, test]`), the other arm's reserve would make both even again in what is then
    /// left of the budget.
    pub(super) fn can_be_followed(
        &self,
        arm: usize,
        standing: &Standing,
        [search, test]: [f64; 2],
    ) -> Result<bool, Error> {
        let (other, pace) = (1 - arm, self.pace()?);
        let ahead = standing.searched[arm] + search;
        let mut follower = standing.searched[other];
        let mut left = TRUSTED * (standing.left() - search - test);
        for extra in self.plan.reserve.of(ARMS[other]) {
            if Standing::is_even(follower, ahead) {
                break;
            }
            let room = left.min(ahead - follower);
            let Some((step, search, test)) = self.step(extra, standing, room)? else { continue };
            let rate = pace.rate(ARMS[other], Step::kind(&step));
            let [search, test] = [search, test].map(|seconds| seconds * rate);
            if search + test <= left && Standing::is_even(ahead, follower + search) {
                follower += search;
                left -= search + test;
            }
        }
        Ok(Standing::is_even(follower, ahead))
    }
}
