//! What a run came to, in figures: as a table, as JSON and as a page with plots.

mod html;
mod plot;
mod table;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use coffer_protocol::Dialect;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::args::{RunArgs, Sizes, Speech};
use crate::oracle::Findings;
use crate::roofline::Roofline;
use crate::run::{Outcome, ServerUsage};
use crate::stats::{Counters, Sample, Stats, Wait};

const MIB: f64 = (1 << 20) as f64;
const GIB: f64 = (1 << 30) as f64;

/// A run in figures. Times are in the unit that the name says; rates are per second of [`Report::seconds`].
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The command line, as far as it matters.
    order: Order,
    /// From the start of the clock to the last acknowledgement.
    seconds: f64,
    files: u64,
    mib: f64,
    files_per_second: f64,
    mib_per_second: f64,
    sessions_per_second: f64,
    counters: Events,
    latencies: Vec<Latency>,
    server: Option<ServerFigures>,
    view: Option<ViewFigures>,
    roofline: Option<Roofline>,
    /// What was found in the server's data folder; null if that is not known.
    stored: Option<Findings>,
    errors: Vec<String>,
    samples: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Order {
    clients: usize,
    dialect: String,
    bytes_min: u64,
    bytes_max: u64,
    sessions: bool,
    rate: Option<f64>,
    /// Contents were encrypted before the clock started.
    preloaded: bool,
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Events {
    sessions: u64,
    key_exchanges: u64,
    mismatches: u64,
    resets: u64,
    server_kills: u32,
    interrupted: u64,
    in_doubt: u64,
    cut_off: u64,
    trickled: u64,
    abandoned: u64,
    errors: u64,
}

#[derive(Debug, Serialize)]
struct Latency {
    what: &'static str,
    count: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    /// Quantiles for the plot: how far from 1, as 1/(1-q), and milliseconds.
    curve: Vec<(f64, f64)>,
}

#[derive(Debug, Serialize)]
struct ServerFigures {
    cpu_seconds: f64,
    /// Share of one core.
    cpu_percent: f64,
    cpu_seconds_per_gib: Option<f64>,
    cpu_seconds_per_1000_files: Option<f64>,
    cpu_seconds_per_1000_sessions: Option<f64>,
    rss_kib_before: u64,
    rss_kib_after: u64,
    peak_rss_kib: u64,
    /// Growth of its own memory from before the first client to the start of the clock, by client.
    bytes_per_client: f64,
    /// The same from before the first client to the peak.
    peak_bytes_per_client: f64,
    open_files_max: u64,
    threads: u64,
}

#[derive(Debug, Serialize)]
struct ViewFigures {
    caught_up: bool,
    seconds: f64,
    cpu_seconds: f64,
}

/// A sample, as it is plotted: rates since the sample before.
#[derive(Debug, Serialize)]
struct Point {
    seconds: f64,
    files_per_second: f64,
    mib_per_second: f64,
    connections: usize,
    cpu_percent: Option<f64>,
    rss_mib: Option<f64>,
}

impl Report {
    pub(crate) fn new(args: &RunArgs, outcome: &Outcome) -> Self {
        let fleet = &outcome.fleet;
        let stats = &fleet.stats;
        let counters = stats.counters;
        let time = fleet.last_file.saturating_duration_since(outcome.start);
        let per_second = |count: f64| count / time.as_secs_f64().max(1e-6);
        let mib = counters.bytes() as f64 / MIB;
        let latencies = Wait::ALL.into_iter().filter(|&wait| !stats.waits(wait).is_empty());
        Self {
            order: Order::new(args, outcome),
            seconds: time.as_secs_f64(),
            files: counters.files,
            mib,
            files_per_second: per_second(counters.files as f64),
            mib_per_second: per_second(mib),
            sessions_per_second: per_second(counters.sessions as f64),
            counters: Events::new(&counters, fleet.outages.count()),
            latencies: latencies.map(|wait| Latency::new(wait, stats.waits(wait))).collect(),
            server: outcome.usage.map(|usage| {
                ServerFigures::new(&usage, &counters, time, args.clients, stats.samples())
            }),
            view: outcome.view.map(|lag| ViewFigures {
                caught_up: lag.caught_up,
                seconds: lag.waited.as_secs_f64(),
                cpu_seconds: lag.cpu.as_secs_f64(),
            }),
            roofline: outcome.roofline.clone(),
            stored: outcome.findings.clone(),
            errors: errors(stats),
            samples: points(outcome),
        }
    }

    /// Whether nothing went wrong that nobody ordered.
    pub(crate) fn is_good(&self) -> bool {
        self.counters.errors == 0
            && self.counters.abandoned == 0
            && self.stored.as_ref().is_none_or(Findings::are_good)
    }

    pub(crate) fn print(&self) {
        print!("{}", table::text(self));
    }

    /// The roofline's CPU-seconds per GiB, where all clients spoke one dialect.
    fn roofline_cpu_per_gib(&self) -> Option<f64> {
        let roofline = self.roofline.as_ref()?;
        match self.order.dialect.as_str() {
            "825" => Some(roofline.pipeline(Dialect::D825)),
            "1100" => Some(roofline.pipeline(Dialect::D1100)),
            _ => None,
        }
    }
}

impl Order {
    fn new(args: &RunArgs, outcome: &Outcome) -> Self {
        let Sizes { min, max } = args.size;
        let dialect = match args.dialect {
            Speech::D825 => "825",
            Speech::D1100 => "1100",
            Speech::Mixed => "mixed",
        };
        Self {
            clients: args.clients,
            dialect: dialect.to_owned(),
            bytes_min: min,
            bytes_max: max,
            sessions: args.sessions,
            rate: args.rate,
            preloaded: outcome.preloaded,
            seed: outcome.fleet.ledger.seed,
        }
    }
}

impl Events {
    fn new(counters: &Counters, server_kills: u32) -> Self {
        Self {
            sessions: counters.sessions,
            key_exchanges: counters.key_exchanges,
            mismatches: counters.mismatches,
            resets: counters.resets,
            server_kills,
            interrupted: counters.interrupted,
            in_doubt: counters.in_doubt,
            cut_off: counters.cut_off,
            trickled: counters.trickled,
            abandoned: counters.abandoned,
            errors: counters.errors,
        }
    }
}

impl Latency {
    fn new(wait: Wait, waits: &Histogram<u64>) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        let at = |quantile| ms(waits.value_at_quantile(quantile));
        let curve = waits.iter_quantiles(4).map(|point| {
            let distance = 1.0 / (1.0 - point.quantile()).max(0.5 / waits.len() as f64);
            (distance, ms(point.value_iterated_to()))
        });
        Self {
            what: wait.name(),
            count: waits.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(waits.max()),
            curve: curve.collect(),
        }
    }
}

impl ServerFigures {
    fn new(
        usage: &ServerUsage,
        counters: &Counters,
        time: Duration,
        clients: usize,
        samples: &[Sample],
    ) -> Self {
        let ServerUsage { idle, start, end } = usage;
        let cpu = end.cpu.saturating_sub(start.cpu).as_secs_f64();
        let per = |count: f64| (count > 0.0).then(|| cpu / count);
        let grown =
            |kib: u64, before: u64| (kib.saturating_sub(before) << 10) as f64 / clients as f64;
        let open_files = samples.iter().filter_map(|sample| sample.usage);
        Self {
            cpu_seconds: cpu,
            cpu_percent: 100.0 * cpu / time.as_secs_f64().max(1e-6),
            cpu_seconds_per_gib: per(counters.bytes() as f64 / GIB),
            cpu_seconds_per_1000_files: per(counters.files as f64 / 1000.0),
            cpu_seconds_per_1000_sessions: per(counters.sessions as f64 / 1000.0),
            rss_kib_before: idle.rss_kib,
            rss_kib_after: end.rss_kib,
            peak_rss_kib: end.peak_kib,
            bytes_per_client: grown(start.anonymous_kib, idle.anonymous_kib),
            peak_bytes_per_client: grown(end.peak_kib, idle.rss_kib),
            open_files_max: open_files.map(|usage| usage.open_files).max().unwrap_or(0),
            threads: end.threads,
        }
    }
}

/// Error messages with how often each came.
pub(crate) fn errors(stats: &Stats) -> Vec<String> {
    let count = |(text, count): (&String, &u64)| format!("{count} times: {text}");
    stats.errors().iter().map(count).collect()
}

fn points(outcome: &Outcome) -> Vec<Point> {
    let pairs = outcome.fleet.stats.samples().windows(2);
    pairs
        .map(|pair| {
            let (before, now) = (&pair[0], &pair[1]);
            let time = now.at.saturating_duration_since(before.at).as_secs_f64().max(1e-6);
            let (then, counters) = (&before.counters, &now.counters);
            let cpu = now.usage.zip(before.usage).map(|(now, before)| {
                100.0 * now.cpu.saturating_sub(before.cpu).as_secs_f64() / time
            });
            Point {
                seconds: now.at.saturating_duration_since(outcome.start).as_secs_f64(),
                files_per_second: (counters.files - then.files) as f64 / time,
                mib_per_second: (counters.bytes() - then.bytes()) as f64 / MIB / time,
                connections: now.connections,
                cpu_percent: cpu,
                rss_mib: now.usage.map(|usage| usage.rss_kib as f64 / 1024.0),
            }
        })
        .collect()
}

/// Writes a report as JSON.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_json(path: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(report).context("cannot put it into JSON")?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a report as one HTML page.
///
/// # Errors
/// If it cannot be plotted or written.
pub(crate) fn write_html(path: &Path, report: &Report) -> anyhow::Result<()> {
    let page = html::page(report)?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}
