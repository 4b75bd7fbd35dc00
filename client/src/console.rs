//! What the user sees: a bar on a terminal, plain lines elsewhere, or JSON.
//!
//! Results go to stdout, errors and the bar to stderr. Nothing is coloured.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use coffer::Error;
use coffer::observe::{Event, Observer, Verified};
use coffer::secure;
use coffer_protocol::name::escape;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::args::Output;

/// Name, bar, bytes, rate and rest; no colours.
const BAR: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";

enum Mode {
    Lines,
    Json,
    Quiet,
}

/// Prints what happens.
pub(crate) struct Console {
    mode: Mode,
    with_bar: bool,
    bar: Option<ProgressBar>,
}

impl Console {
    pub(crate) fn new(output: &Output) -> Self {
        let mode = match output {
            Output { json: true, .. } => Mode::Json,
            Output { quiet: true, .. } => Mode::Quiet,
            _ => Mode::Lines,
        };
        let with_bar = matches!(mode, Mode::Lines) && io::stderr().is_terminal();
        Self { mode, with_bar, bar: None }
    }

    /// Says why nothing could be sent.
    pub(crate) fn error(&mut self, error: &Error) {
        self.end_bar();
        if let Mode::Json = self.mode {
            let reason = error.class().word();
            print_line(
                &json!({ "event": "error", "reason": reason, "message": error.to_string() }),
            );
        }
        complain(error);
    }

    /// Prints a result: as lines or as an object, whichever is wanted.
    pub(crate) fn result(&mut self, lines: &str, object: &Value) {
        match self.mode {
            Mode::Lines => print_line(&lines),
            Mode::Json => print_line(object),
            Mode::Quiet => {}
        }
    }

    fn begin_bar(&mut self, path: &Path, size: u64) {
        self.end_bar();
        if self.with_bar {
            let style =
                ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(size).with_style(style).with_message(shown(path));
            self.bar = Some(bar);
        }
    }

    fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn lines(&mut self, event: &Event<'_>) {
        match *event {
            Event::Registered { client, id, .. } => {
                print_line(&format_args!("registered as '{client}', id {id}"));
            }
            Event::KeyReceived { client, id, reconnected: true, .. } => {
                print_line(&format_args!("reconnected as '{client}', id {id}"));
            }
            Event::KeyReceived { .. } => {}
            Event::FileStarted { path, size, .. } => self.begin_bar(path, size),
            Event::FileProgress { sent, .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(sent);
                }
            }
            Event::ChecksumWrong { path, attempt, ours, theirs } => {
                self.end_bar();
                let path = shown(path);
                print_line(&format_args!(
                    "{path}: wrong checksum at try {attempt} (sent {ours}, the server got {theirs})"
                ));
            }
            Event::Reconnecting { path } => {
                self.end_bar();
                print_line(&format_args!("{}: the server closed, reconnecting", shown(path)));
            }
            Event::FileVerified { path, verified } => {
                self.end_bar();
                print_line(&format_args!("{}: verified, {}", shown(path), summary(verified)));
            }
            Event::FileFailed { error, .. } => {
                self.end_bar();
                complain(error);
            }
        }
    }
}

impl secure::Observer for Console {
    fn waiting(&mut self, failure: &secure::Failure, pause: Duration) {
        if !matches!(self.mode, Mode::Quiet) {
            complain(&format_args!("{failure}; trying again in {:.1} s", pause.as_secs_f32()));
        }
    }
}

impl Observer for Console {
    fn notice(&mut self, event: &Event<'_>) {
        match self.mode {
            Mode::Lines => self.lines(event),
            Mode::Json => {
                if let Some(object) = object(event) {
                    print_line(&object);
                }
            }
            Mode::Quiet => {}
        }
        if let (Mode::Json | Mode::Quiet, Event::FileFailed { error, .. }) = (&self.mode, event) {
            complain(error);
        }
    }
}

fn summary(verified: &Verified) -> String {
    let Verified { size, checksum, attempts, acknowledged, elapsed } = *verified;
    let rate = size as f64 / 1e6 / elapsed.as_secs_f64().max(1e-6);
    let tries = if attempts == 1 { String::new() } else { format!(", at try {attempts}") };
    let silent = if acknowledged { "" } else { ", not acknowledged (a classic server)" };
    let seconds = elapsed.as_secs_f64();
    format!("{size} bytes, checksum {checksum}, {seconds:.2} s, {rate:.1} MB/s{tries}{silent}")
}

/// An event for programs; progress is left out.
fn object(event: &Event<'_>) -> Option<Value> {
    Some(match *event {
        Event::Registered { client, id, elapsed } => {
            json!({ "event": "registered", "client": client, "id": id.to_string(), "seconds": seconds(elapsed) })
        }
        Event::KeyReceived { client, id, reconnected, elapsed } => {
            json!({ "event": "key", "client": client, "id": id.to_string(), "reconnected": reconnected,
                "seconds": seconds(elapsed) })
        }
        Event::FileStarted { path, size, attempt } => {
            json!({ "event": "started", "file": shown(path), "size": size, "attempt": attempt })
        }
        Event::FileProgress { .. } => return None,
        Event::ChecksumWrong { path, attempt, ours, theirs } => {
            json!({ "event": "mismatch", "file": shown(path), "attempt": attempt, "ours": ours, "theirs": theirs })
        }
        Event::Reconnecting { path } => json!({ "event": "reconnecting", "file": shown(path) }),
        Event::FileVerified { path, verified } => {
            let Verified { size, checksum, attempts, acknowledged, elapsed } = *verified;
            json!({ "event": "verified", "file": shown(path), "size": size, "checksum": checksum,
                "attempts": attempts, "acknowledged": acknowledged, "seconds": seconds(elapsed) })
        }
        Event::FileFailed { path, error, elapsed } => {
            json!({ "event": "failed", "file": shown(path), "reason": error.class().word(),
                "message": error.to_string(), "seconds": seconds(elapsed) })
        }
    })
}

/// Seconds with the three digits that mean something.
fn seconds(elapsed: Duration) -> f64 {
    elapsed.as_millis() as f64 / 1e3
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes()).into_owned()
}

/// Prints a line. That nobody reads it is no reason to stop a backup.
fn print_line(line: &dyn std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

fn complain(error: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "coffer: {error}");
}
