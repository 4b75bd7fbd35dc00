//! `cofferd check`: the scrub, and what it says.

mod line;
mod progress;

use std::io::{self, IsTerminal, Write};

use super::{CommandError, FolderArgs, count};
use crate::catalog::ScrubTotals;
use crate::limits::SCRUB_MIB_PER_SECOND;
use crate::scrub::{Finding, Options, Summary, Watcher, scrub};
use crate::storage::DataDir;
use progress::Progress;

/// Read every stored content again and compare catalog, contents and view. Prints a line for everything that is wrong,
/// and exits with 1 if anything is, or still is after --repair
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Put right what can be: make the view anew, set aside in lost/ what belongs to nobody, and mark versions whose
    /// contents are lost, so that their files may be sent again
    #[arg(long)]
    pub repair: bool,
    /// How much of the contents to read in a second
    #[arg(long, value_name = "MIB_PER_SECOND", default_value_t = SCRUB_MIB_PER_SECOND, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Checks the folder: findings and a summary on the standard output, progress on the standard error if that is a
/// terminal.
///
/// # Errors
/// If there is no such data folder, the check could not be done to its end, or something is wrong.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let dir = args.folder.open()?;
    let options = Options { repair: args.repair, mib_per_second: args.rate };
    let terminal = io::stderr().is_terminal().then(Progress::default);
    // A finding is told at once: a check may take days.
    check(&dir, options, &mut io::stdout().lock(), terminal)
}

pub(super) fn check(
    dir: &DataDir,
    options: Options,
    out: &mut dyn Write,
    progress: Option<Progress>,
) -> Result<(), CommandError> {
    let mut teller = Teller { out, progress };
    let done = scrub(dir, options, &mut teller);
    teller.clear();
    let summary = done?;
    writeln!(teller.out, "{}", line::summary(&summary)).map_err(CommandError::Output)?;
    match summary.findings - summary.mended {
        0 => Ok(()),
        wrong => Err(CommandError::Wrong(format!("{} wrong", are(wrong)))),
    }
}

fn are(number: u64) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", count(number, "thing"))
}

/// Writes findings, and shows progress between them.
struct Teller<'a> {
    out: &'a mut dyn Write,
    progress: Option<Progress>,
}

impl Teller<'_> {
    fn clear(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
    }
}

impl Watcher for Teller<'_> {
    fn found(&mut self, finding: &Finding) -> io::Result<()> {
        self.clear();
        writeln!(self.out, "{}", line::finding(finding))?;
        self.out.flush()
    }

    fn progress(&mut self, summary: &Summary, totals: &ScrubTotals) {
        if let Some(progress) = &mut self.progress {
            progress.show(summary, totals);
        }
    }
}
