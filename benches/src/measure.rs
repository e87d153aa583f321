//! Measuring, on a machine that may do something else meanwhile.

use std::fmt;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// The least that a round of [`ratio_in_turn`] takes.
const ROUND: Duration = Duration::from_millis(1);

/// Whether the benches are to be short: `FLAGCACHE_BENCH_QUICK` is set.
pub fn is_quick() -> bool {
    std::env::var_os("FLAGCACHE_BENCH_QUICK").is_some()
}

fn samples() -> usize {
    if is_quick() { 10 } else { 30 }
}

/// All rounds of [`ratio_in_turn`] take this long at least.
fn rounds() -> Duration {
    Duration::from_millis(if is_quick() { 200 } else { 1_000 })
}

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
    /// The statistics of `samples`; `None` without any.
    pub fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort();
        let (min, max) = (*samples.first()?, *samples.last()?);
        Some(Self {
            min,
            median: samples[samples.len() / 2],
            max,
        })
    }

    /// The two cells of a table: the median, and from the fastest to the slowest.
    pub fn cells(&self) -> [String; 2] {
        [
            time(self.median),
            format!("{}–{}", time(self.min), time(self.max)),
        ]
    }

    /// The median in microseconds.
    pub fn micros(&self) -> f64 {
        self.median.as_secs_f64() * 1e6
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, spread] = self.cells();
        write!(f, "{median} ({spread})")
    }
}

/// A duration with three digits.
fn time(duration: Duration) -> String {
    let nanos = duration.as_secs_f64() * 1e9;
    let (value, unit) = match nanos {
        ..1e3 => (nanos, "ns"),
        ..1e6 => (nanos / 1e3, "µs"),
        ..1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$} {unit}")
}

/// Criterion with the arguments of the command line, and few samples: what is measured takes up to a tenth of a second.
pub fn criterion() -> Criterion {
    let [warm_up, measurement] = if is_quick() {
        [200, 500]
    } else {
        [1_000, 3_000]
    }
    .map(Duration::from_millis);
    Criterion::default()
        .sample_size(samples())
        .warm_up_time(warm_up)
        .measurement_time(measurement)
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
    while ratios.len() < samples() || start.elapsed() < rounds() {
        let peer = timed(&mut peer);
        ratios.push(timed(&mut run) / peer);
    }
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Measures `run`, whose argument is the number of repetitions. `None` if the command line filters it out.
pub fn measure(criterion: &mut Criterion, name: &str, mut run: impl FnMut(u64)) -> Option<Figure> {
    let mut samples_taken = Vec::new();
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            run(times);
            let took = start.elapsed();
            samples_taken.push(took.div_f64(times as f64));
            took
        });
    });
    // What comes before the last ones was the warm-up.
    Figure::of(samples_taken.split_off(samples_taken.len().saturating_sub(samples())))
}
