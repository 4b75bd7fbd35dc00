//! The log on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::LogFormat;

/// The environment variable that sets the level, or levels by module, as `RUST_LOG` does elsewhere.
pub const LOG_VARIABLE: &str = "COFFERD_LOG";

/// Starts logging. `verbosity` counts `-v`; the environment variable wins over it.
///
/// # Errors
/// If the variable makes no sense.
pub fn start(format: LogFormat, verbosity: u8) -> anyhow::Result<()> {
    let level = match verbosity {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|error| anyhow::anyhow!("{LOG_VARIABLE}={text:?} makes no sense: {error}"))?,
        _ => EnvFilter::new(level),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let log = log.with_timer(SystemTime);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
