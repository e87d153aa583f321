//! What the benches share: measuring with criterion, and keeping the figures for a table of ratios at the end.
//!
//! ```text
//! cargo bench -p flagcache-benches --features redis
//! ```

use std::fmt;
use std::time::{Duration, Instant};

use criterion::Criterion;

const SAMPLES: usize = 30;
/// The least that a round takes, and all rounds.
const ROUND: Duration = Duration::from_millis(1);
const ROUNDS: Duration = Duration::from_secs(1);

/// How long one run of something took.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The fastest sample.
    pub min: Duration,
    /// The median of the samples.
    pub median: Duration,
    /// The slowest sample.
    pub max: Duration,
}

impl Figure {
    fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort();
        let (min, max) = (*samples.first()?, *samples.last()?);
        Some(Self { min, median: samples[samples.len() / 2], max })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [min, median, max] = [self.min, self.median, self.max].map(|time| format!("{time:.1?}"));
        write!(f, "{min:>9} {median:>9} {max:>9}")
    }
}

/// Criterion with the arguments of the command line, and few samples: what is measured takes up to a tenth of a second.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// How many times longer one thing takes than a peer that takes about `figure`, in turn: what else the machine does meanwhile
/// slows both down. The median of many rounds.
pub fn ratio_in_turn(figure: &Figure, mut peer: impl FnMut(u64), mut run: impl FnMut(u64)) -> f64 {
    let times = (ROUND.as_secs_f64() / figure.median.as_secs_f64()).ceil() as u64;
    let timed = |run: &mut dyn FnMut(u64)| {
        let start = Instant::now();
        run(times);
        start.elapsed().as_secs_f64()
    };
    let mut ratios = Vec::new();
    let start = Instant::now();
    while ratios.len() < SAMPLES || start.elapsed() < ROUNDS {
        let peer = timed(&mut peer);
        ratios.push(timed(&mut run) / peer);
    }
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Measures `run`, which is told how often to do what is measured. `None` if the command line leaves it out.
pub fn measure(criterion: &mut Criterion, name: &str, mut run: impl FnMut(u64)) -> Option<Figure> {
    let mut samples = Vec::new();
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            run(times);
            let took = start.elapsed();
            samples.push(took.div_f64(times as f64));
            took
        });
    });
    // What comes before the last ones was the warm-up.
    Figure::of(samples.split_off(samples.len().saturating_sub(SAMPLES)))
}
