//! Metrics in Prometheus's text format, version 0.0.4.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use super::metrics::BUCKETS;
use crate::budget::MemorySnapshot;
use crate::config::METRICS_ENTRIES_MAX;
use crate::loader::{Inner, Loader};
use crate::pool::PoolSnapshot;
use crate::pool::bound::InstancesSnapshot;

/// Writes one family after the other.
pub(crate) struct Exposition(String);

impl Exposition {
    /// Begins a family; `kind` is `counter`, `gauge` or `histogram`.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string can't fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes a sample of the family.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if index == 0 { '{' } else { ',' });
            for char in value.chars() {
                match char {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    char => self.0.push(char),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one sample without labels.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

impl Loader {
    /// Everything that is counted, in Prometheus's text format (content type
    /// `text/plain; version=0.0.4`), for programs that serve it themselves.
    pub fn metrics(&self) -> String {
        let inner = self.inner();
        let mut out = Exposition(String::new());
        calls(&mut out, inner);
        pools(&mut out, self);
        loader(&mut out, inner);
        process(&mut out);
        out.0
    }
}

fn calls(out: &mut Exposition, inner: &Inner) {
    let entries = inner.telemetry.metrics.entries();
    out.family("wippy_calls_total", "counter", "Calls that ended, by entry and outcome.");
    for (id, counts) in &entries {
        for (outcome, count) in counts.outcomes() {
            out.sample("wippy_calls_total", &[("entry", id), ("outcome", outcome)], count);
        }
    }
    out.family("wippy_calls_running", "gauge", "Calls under way, those that wait for a slot included.");
    for (id, counts) in &entries {
        out.sample("wippy_calls_running", &[("entry", id)], counts.running());
    }
    const TOOK: &str = "wippy_call_duration_seconds";
    out.family(TOOK, "histogram", "Time of a call, waiting for a slot included.");
    for (id, counts) in &entries {
        let (took, seconds) = counts.took();
        let mut sum = 0;
        for (bound, count) in BUCKETS.iter().map(Some).chain([None]).zip(took) {
            sum += count;
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            out.sample("wippy_call_duration_seconds_bucket", &[("entry", id), ("le", &bound)], sum);
        }
        out.sample("wippy_call_duration_seconds_sum", &[("entry", id)], seconds);
        out.sample("wippy_call_duration_seconds_count", &[("entry", id)], sum);
    }
}

fn pools(out: &mut Exposition, loader: &Loader) {
    let pools = loader.pools();
    let pools: Vec<(String, &PoolSnapshot)> =
        pools.iter().take(METRICS_ENTRIES_MAX).map(|pool| (pool.id.to_string(), pool)).collect();
    type Gauge = (&'static str, &'static str, fn(&PoolSnapshot) -> usize);
    const GAUGES: [Gauge; 4] = [
        ("wippy_pool_slots", "Slots of a function's pool.", |pool| pool.size),
        ("wippy_pool_slots_busy", "Slots that calls hold.", |pool| pool.busy),
        ("wippy_pool_queued", "Calls in the queue of a pool.", |pool| pool.queued),
        ("wippy_pool_overflow", "Calls that wait for a place in the queue.", |pool| pool.overflow),
    ];
    for (name, help, value) in GAUGES {
        out.family(name, "gauge", help);
        for (id, pool) in &pools {
            out.sample(name, &[("entry", id)], value(pool));
        }
    }
    let InstancesSnapshot { live, max, waiting, made } = loader.instances();
    out.single("wippy_instances", "gauge", "Instances of WebAssembly, idle ones included.", live);
    out.single("wippy_instances_max", "gauge", "Most instances at once.", max);
    out.single("wippy_instances_waiting", "gauge", "Calls that wait for an instance.", waiting);
    out.single("wippy_instances_made_total", "counter", "Instances that were made.", made);
    let MemorySnapshot { used, max } = loader.memory();
    out.single("wippy_memory_bytes", "gauge", "Memory of all guests together, Lua included.", used);
    out.single("wippy_memory_max_bytes", "gauge", "Most that all guests may have together.", max);
}

fn loader(out: &mut Exposition, inner: &Inner) {
    let metrics = &inner.telemetry.metrics;
    out.family("wippy_build_info", "gauge", "The loader and the bundle that it serves.");
    let digest = inner.bundle.manifest().digest().to_string();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("bundle", digest.as_str())];
    out.sample("wippy_build_info", &labels, 1);
    let boot = metrics.boot.as_secs_f64();
    out.single("wippy_boot_seconds", "gauge", "Time from opening the bundle to being able to call.", boot);
    let started = metrics.started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    out.single("wippy_started_time_seconds", "gauge", "When the bundle was opened, in Unix time.", started);
    let dropped = inner.telemetry.tracer.dropped();
    out.single("wippy_spans_dropped_total", "counter", "Spans that were not exported.", dropped);
    #[cfg(feature = "lua")]
    {
        let idle = inner.lua.idle();
        out.single("wippy_lua_states_idle", "gauge", "Lua states that wait for an invocation.", idle);
    }
}

/// Of the process, under the names that Prometheus's own clients use.
fn process(out: &mut Exposition) {
    let page = rustix::param::page_size() as u64;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split_whitespace().map(|pages| pages.parse::<u64>().unwrap_or(0));
    if let (Some(size), Some(resident)) = (pages.next(), pages.next()) {
        out.single("process_virtual_memory_bytes", "gauge", "Address space in use.", size * page);
        out.single("process_resident_memory_bytes", "gauge", "Memory in use.", resident * page);
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        // The listing itself has one.
        let open = descriptors.count().saturating_sub(1);
        out.single("process_open_fds", "gauge", "Open file descriptors.", open);
    }
    if let Ok(threads) = std::fs::read_dir("/proc/self/task") {
        out.single("process_threads", "gauge", "Threads.", threads.count());
    }
}
