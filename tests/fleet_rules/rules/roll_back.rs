//! A → B → A, while leadership moves from one worker to another and back.

use std::time::Duration;

use flagcache_providers::testing::{ApiReply, ApiStub};

use crate::api::Get;
use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::protocol::now;
use crate::test_store::TestStore;
use crate::worker::Settings;

const A: usize = FLAGS;
const B: usize = FLAGS + 1;

pub(crate) fn b3_37_a_roll_back_over_a_change_of_leader_reaches_all<P: TestStore>() {
    let settings = Settings::every(Duration::from_millis(500)).lock_ttl(P::LOCK_TTL);
    // With the key that is refused to the first, the second would not try.
    let mut fleet = Fleet::<P>::with_keys(settings, &[ApiStub::SECRET_KEY, "phs_b"]);
    let first = fleet.leader();
    let second = 1 - first;

    // The first has fetched A. It steps down, so the second fetches B.
    let ordered_at = now();
    fleet.api.next(ApiReply::status(401));
    // The answer may go to a tick that comes before.
    fleet.refresh(first);
    assert_eq!(fleet.next_leader(first, ordered_at).0, second);
    fleet.api.serve(B);
    fleet.wait_until_all_have(B);

    // The flags are rolled back to A, and the second dies before it sees that.
    fleet.workers[second].pause();
    fleet.api.serve(A);
    let from = fleet.api.count();
    let killed = fleet.workers[second].kill();
    assert_eq!(fleet.next_leader(second, killed).0, first);

    // If the first worker kept the ETag of A beside B, it would get a 304, and stay on B for ever.
    let name = fleet.name(first).to_owned();
    let mut get = None;
    fleet.wait(AMPLE, "the first one's request", |fleet| {
        // One of the second may have been on its way when it was paused.
        get = fleet
            .api
            .gets_from(from)
            .into_iter()
            .find(|get| get.by == name);
        get.is_some()
    });
    assert_eq!(
        get,
        Some(Get {
            by: name,
            status: Some(200),
            conditional: true
        })
    );
    fleet.start(1);
    fleet.wait_until_all_have(A);
}
