//! Samples of one thing that is measured, and a table of several.

use std::time::Duration;

/// Times of one call each.
pub(crate) struct Series {
    name: String,
    samples: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), samples: Vec::new() }
    }

    /// Adds a round of `calls` calls that took `time`.
    pub(crate) fn add(&mut self, time: Duration, calls: u32) {
        self.samples.push(time.as_secs_f64() * 1e6 / f64::from(calls));
    }

    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * part).round() as usize]
    }

    /// In microseconds.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Half the distance of the quartiles, in microseconds.
    fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / 2.0
    }
}

/// Prints all series with their ratios to the first: of medians, and of the least, which others on the machine
/// disturbed least.
pub(crate) fn print(title: &str, all: &[Series]) {
    let Some(first) = all.first() else { return };
    println!("{title}");
    for series in all {
        let (median, least) = (series.median(), series.quantile(0.0));
        println!(
            "  {:36}{median:>12.2} us ±{:<8.2}{:>8.2} x   least{least:>12.2} us{:>8.2} x",
            series.name,
            series.spread(),
            median / first.median(),
            least / first.quantile(0.0),
        );
    }
}
