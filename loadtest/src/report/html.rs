//! A report as one page that needs nothing else.

use super::plot::{Line, linear, logarithmic};
use super::{Point, Report, table};

const STYLE: &str = "body{font-family:sans-serif;max-width:800px;margin:2em auto;padding:0 1em}\
pre{background:#f5f5f5;padding:1em;overflow-x:auto}svg{display:block;margin:1em 0;max-width:100%;height:auto}";

/// The page.
///
/// # Errors
/// If it cannot be plotted.
pub(super) fn page(report: &Report) -> anyhow::Result<String> {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Coffer load test</title>\
<style>{STYLE}</style></head><body>\n<h1>Coffer load test</h1>\n<pre>{}</pre>\n",
        escaped(&table::text(report))
    );
    for plot in plots(report)? {
        page.push_str(&plot);
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn plots(report: &Report) -> anyhow::Result<Vec<String>> {
    let over_time = |title, unit, name, value: &dyn Fn(&Point) -> Option<f64>| {
        let line = Line { name, points: points(report, value) };
        linear(title, ["seconds", unit], &[line])
    };
    let curves: Vec<Line<'_>> = report
        .latencies
        .iter()
        .map(|latency| Line { name: latency.what, points: latency.curve.clone() })
        .collect();
    let mut plots = vec![
        over_time("Throughput", "MiB/s", "MiB/s", &|point| Some(point.mib_per_second))?,
        over_time("Files", "files/s", "files/s", &|point| Some(point.files_per_second))?,
        logarithmic("Latency", ["1 / (1 - quantile): 10 is p90, 100 is p99", "ms"], &curves)?,
        over_time("Connections", "at once", "at once", &|point| Some(point.connections as f64))?,
    ];
    if report.server.is_some() {
        let cpu = over_time("Server: CPU", "% of a core", "CPU", &|point| point.cpu_percent)?;
        let memory = over_time("Server: memory", "MiB", "memory", &|point| point.rss_mib)?;
        plots.extend([cpu, memory]);
    }
    Ok(plots)
}

fn points(report: &Report, value: &dyn Fn(&Point) -> Option<f64>) -> Vec<(f64, f64)> {
    report.samples.iter().filter_map(|point| Some((point.seconds, value(point)?))).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
