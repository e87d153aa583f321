//! The story of a run: what happens when, chosen by the seed.

use std::time::Duration;

use fastrand::Rng;

use crate::plan::Plan;

/// A step of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The definitions change at the API, away from any fault or beside one.
    Change {
        quiet: bool,
    },
    KillLeader,
    ShutDownLeader,
    /// Starts processes where they are missing.
    Replace,
    /// Packets between the leader, or one in twenty workers, and Redis are lost.
    CutLeader,
    CutSome,
    Heal,
    KillRedis,
    StartRedis {
        empty: bool,
    },
    /// Checks every worker.
    Look,
}

/// A chapter of the story; each has a window of its own.
#[derive(Clone, Copy, Debug)]
enum Chapter {
    Change,
    LeaderDies,
    LeaderShutsDown,
    LeaderIsCut,
    SomeAreCut,
    RedisFails { empty: bool },
}

/// How long a partition or an outage lasts.
const FAULT: Duration = Duration::from_secs(60);

/// The chapters with faults. A short story has the first of them.
const FAULTS: [Chapter; 8] = [
    Chapter::LeaderDies,
    Chapter::SomeAreCut,
    Chapter::RedisFails { empty: false },
    Chapter::LeaderIsCut,
    Chapter::RedisFails { empty: true },
    Chapter::LeaderShutsDown,
    Chapter::LeaderDies,
    Chapter::SomeAreCut,
];

/// The events, by the time since the last worker was started.
pub(crate) fn of(plan: &Plan) -> Vec<(Duration, Event)> {
    let mut rng = Rng::with_seed(plan.seed);
    let mut chapters = FAULTS[..plan.faults.min(FAULTS.len())].to_vec();
    let with_faults = chapters.len();
    chapters.resize(with_faults + plan.changes, Chapter::Change);
    rng.shuffle(&mut chapters);
    let window = plan.span / chapters.len() as u32;
    let mut events = Vec::new();
    for (index, chapter) in chapters.into_iter().enumerate() {
        // The second half of a window is quiet again.
        let from = window * index as u32 + window.mul_f64(rng.f64() * 0.2);
        events.extend(
            steps(chapter)
                .into_iter()
                .map(|(after, event)| (from + after, event)),
        );
    }
    let looks = (plan.span.as_secs() / 60).clamp(10, 1_000) as u32;
    events.extend((1..=looks).map(|index| (plan.span / looks * index, Event::Look)));
    events.sort_by_key(|(at, _)| *at);
    events
}

fn steps(chapter: Chapter) -> Vec<(Duration, Event)> {
    let change = Event::Change { quiet: false };
    let secs = Duration::from_secs;
    match chapter {
        Chapter::Change => vec![(secs(0), Event::Change { quiet: true })],
        Chapter::LeaderDies => vec![
            (secs(0), Event::KillLeader),
            (secs(2), change),
            (secs(15), Event::Replace),
        ],
        Chapter::LeaderShutsDown => vec![
            (secs(0), Event::ShutDownLeader),
            (secs(2), change),
            (secs(15), Event::Replace),
        ],
        Chapter::LeaderIsCut => vec![
            (secs(0), Event::CutLeader),
            (secs(5), change),
            (FAULT, Event::Heal),
        ],
        Chapter::SomeAreCut => vec![
            (secs(0), Event::CutSome),
            (secs(5), change),
            (secs(20), change),
            (FAULT, Event::Heal),
        ],
        Chapter::RedisFails { empty } => vec![
            (secs(0), Event::KillRedis),
            (secs(20), change),
            (FAULT, Event::StartRedis { empty }),
        ],
    }
}
