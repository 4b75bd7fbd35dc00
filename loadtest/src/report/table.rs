//! A report as text.

use std::fmt::Write;

use super::{Report, ServerFigures};
use crate::oracle::Findings;

/// The whole report, line by line.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    write(&mut out, report).expect("writing to a string does not fail");
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    headline(out, report)?;
    latencies(out, report)?;
    events(out, report)?;
    if let Some(server) = &report.server {
        usage(out, report, server)?;
    }
    if let Some(view) = &report.view {
        let caught = if view.caught_up { "caught up" } else { "had NOT caught up" };
        let (seconds, cpu) = (view.seconds, view.cpu_seconds);
        writeln!(
            out,
            "view        {caught} {seconds:.1} s after the end, with {cpu:.2} CPU-s more"
        )?;
    }
    if let Some(roofline) = &report.roofline {
        write!(out, "{roofline}")?;
    }
    match &report.stored {
        Some(findings) => stored(out, findings)?,
        None => writeln!(out, "stored      not compared: the data folder is not known (--data)")?,
    }
    report.errors.iter().try_for_each(|error| writeln!(out, "error       {error}"))?;
    writeln!(out, "{}", if report.is_good() { "all well" } else { "NOT all well" })
}

fn headline(out: &mut String, report: &Report) -> std::fmt::Result {
    let order = &report.order;
    let size = match (order.bytes_min, order.bytes_max) {
        (min, max) if min == max => format!("{min} bytes"),
        (min, max) => format!("{min} to {max} bytes"),
    };
    writeln!(
        out,
        "{} clients, dialect {}, files of {size}, contents {}, seed {}",
        order.clients,
        order.dialect,
        if order.preloaded { "encrypted before" } else { "encrypted while sending" },
        order.seed
    )?;
    write!(
        out,
        "{} files and {:.1} MiB in {:.2} s: {:.1} files/s, {:.1} MiB/s",
        report.files, report.mib, report.seconds, report.files_per_second, report.mib_per_second
    )?;
    if order.sessions {
        write!(out, ", {:.1} sessions/s", report.sessions_per_second)?;
    }
    writeln!(out)
}

fn latencies(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:<14}{:>10}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "milliseconds", "count", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for latency in &report.latencies {
        writeln!(
            out,
            "{:<14}{:>10}{:>11.3}{:>11.3}{:>11.3}{:>11.3}{:>11.3}",
            latency.what,
            latency.count,
            latency.p50_ms,
            latency.p90_ms,
            latency.p99_ms,
            latency.p999_ms,
            latency.max_ms
        )?;
    }
    writeln!(out)
}

fn events(out: &mut String, report: &Report) -> std::fmt::Result {
    let counters = &report.counters;
    let ordered = [
        (counters.mismatches, "checksums wrong and repaired"),
        (counters.resets, "connections reset"),
        (u64::from(counters.server_kills), "times the server was killed"),
        (counters.interrupted, "waits cut short by that"),
        (counters.in_doubt, "files in doubt for that"),
        (counters.cut_off, "slow clients cut off"),
        (counters.trickled, "files came a byte at a time"),
    ];
    let text: Vec<String> = ordered
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !text.is_empty() {
        writeln!(out, "ordered     {}", text.join(", "))?;
    }
    let unexpected = [(counters.errors, "errors"), (counters.abandoned, "files abandoned")];
    let text = unexpected.map(|(count, what)| format!("{count} {what}"));
    writeln!(out, "unexpected  {}", text.join(", "))
}

fn usage(out: &mut String, report: &Report, server: &ServerFigures) -> std::fmt::Result {
    write!(out, "server CPU  {:.2} s ({:.0} %)", server.cpu_seconds, server.cpu_percent)?;
    let ratio = server.cpu_seconds_per_gib.zip(report.roofline_cpu_per_gib());
    if let Some(cpu) = server.cpu_seconds_per_gib {
        write!(out, ", {cpu:.2} per GiB")?;
    }
    if let Some((cpu, roofline)) = ratio {
        write!(out, " ({:.2} x the roofline)", cpu / roofline)?;
    }
    if let Some(cpu) = server.cpu_seconds_per_1000_files {
        write!(out, ", {cpu:.3} per 1000 files")?;
    }
    if let Some(cpu) = server.cpu_seconds_per_1000_sessions {
        write!(out, ", {cpu:.3} per 1000 sessions")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "server mem  {:.1} MiB before, {:.1} after, {:.1} at the peak ({:.0} bytes per client); {:.0} bytes per client when the clock started",
        server.rss_kib_before as f64 / 1024.0,
        server.rss_kib_after as f64 / 1024.0,
        server.peak_rss_kib as f64 / 1024.0,
        server.peak_bytes_per_client,
        server.bytes_per_client,
    )?;
    writeln!(out, "server      {} open files, {} threads", server.open_files_max, server.threads)?;
    if let Some(roofline) = &report.roofline {
        let ratio = report.files_per_second / roofline.durable_files_best();
        writeln!(out, "files/s     {ratio:.2} x the roofline's best with one sync per file")?;
    }
    Ok(())
}

fn stored(out: &mut String, findings: &Findings) -> std::fmt::Result {
    write!(
        out,
        "stored      {} files ({} bytes) identical",
        findings.identical, findings.identical_bytes
    )?;
    if findings.identical_unacknowledged > 0 {
        write!(out, ", {} more without an answer", findings.identical_unacknowledged)?;
    }
    writeln!(out, ", {} missing, {} different", findings.missing, findings.different)?;
    findings.examples.iter().try_for_each(|example| writeln!(out, "wrong       {example}"))
}
