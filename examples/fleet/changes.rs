//! Many changes, one after another: the time from the leader's publish to all followers.

use std::time::Duration;

use crate::api::Api;
use crate::figures::{Changes, milliseconds};
use crate::fleet::Fleet;
use crate::protocol::Order;

/// Changes a flag `count` times. The leader is ordered to load at once, without waiting for its tick.
pub(crate) async fn publish(
    fleet: &mut Fleet,
    api: &mut Api,
    count: u32,
) -> Result<Changes, String> {
    let mut took = Vec::new();
    for _ in 0..count {
        let leader = fleet.leader().ok_or("no worker leads")?;
        let mark = fleet.record.mark();
        api.change_a_flag()
            .ok_or("this API is not ours to change")?;
        fleet.order(&leader, Order::Load)?;
        let last = fleet.all_changed_but(Some(&leader), mark).await?;
        took.push(last.since(fleet.published(mark).await?));
    }
    took.sort();
    let percentile = |percent: usize| milliseconds(nearest_rank(&took, percent));
    Ok(Changes {
        count,
        median_ms: percentile(50),
        p99_ms: percentile(99),
        max_ms: percentile(100),
    })
}

/// The smallest that so many per cent do not exceed. Zero of none.
fn nearest_rank(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
