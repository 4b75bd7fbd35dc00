//! What is in force: flags, then `coffer.toml`, then defaults; and where each value came from.

mod period;
pub mod port;
mod size;

use std::fmt::{self, Display, Write as _};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;

pub use period::{Period, PeriodError};
pub use size::Size;

use crate::limits::{CONNECTIONS_MAX, UPLOADS_MAX};
use crate::session::{Classic, Existing};

/// The file that is read when no other is named.
pub const CONFIG_FILE: &str = "coffer.toml";

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings as flags or as keys of `coffer.toml`; what is not given is left open.
#[derive(Args, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Where to listen; may be given more than once. Port 0 takes a free one.
    /// Without it: 127.0.0.1 and the port in the info.port file
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<String>,
    /// The data folder [default: coffer-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The file with the port [default: info.port]
    #[arg(long, value_name = "FILE")]
    pub info_port: Option<PathBuf>,
    /// Threads that decrypt and checksum small files, and as many for large ones [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Connections at the same time; more wait [default: 16384, or what the limit on open files allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
    /// Connections of one address at the same time [default: no limit of its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections_per_address: Option<u32>,
    /// Registrations of one address in a minute [default: 600, and no limit for this machine itself]
    #[arg(long, value_name = "N")]
    pub max_registrations_per_minute: Option<u32>,
    /// Uploads under way at the same time [default: 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_uploads: Option<u32>,
    /// Room on the disk that uploads leave free, such as 64M or 2G; 0 does not look
    /// [default: 64M, or a sixteenth of a smaller disk]
    #[arg(long, value_name = "SIZE")]
    pub keep_free: Option<Size>,
    /// What happens to a file whose name is taken by a verified one [default: dialect]
    #[arg(long, value_enum, value_name = "RULE")]
    pub existing: Option<Existing>,
    /// Who may speak the classic protocol, which authenticates nobody [default: loopback]
    #[arg(long, value_enum, value_name = "WHO")]
    pub classic: Option<Classic>,
    /// How the log on stderr is written [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A flag.
    Flag,
    /// The configuration file.
    File,
    /// The `info.port` file.
    PortFile,
    /// Nobody said anything.
    Default,
}

/// A value and where it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

/// Everything that is in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Sourced<Vec<SocketAddr>>,
    /// The data folder.
    pub data: Sourced<PathBuf>,
    /// The file with the port.
    pub info_port: Sourced<PathBuf>,
    /// Threads for heavy work.
    pub workers: Sourced<u16>,
    /// Connections at the same time.
    pub max_connections: Sourced<u32>,
    /// Connections of one address at the same time.
    pub max_connections_per_address: Sourced<Option<u32>>,
    /// Registrations of one address in a minute.
    pub max_registrations_per_minute: Sourced<Option<u32>>,
    /// Uploads under way at the same time.
    pub max_uploads: Sourced<u32>,
    /// Room on the disk that uploads leave free.
    pub keep_free: Sourced<Option<Size>>,
    /// What happens to a file whose name is taken.
    pub existing: Sourced<Existing>,
    /// Who may speak the classic protocol.
    pub classic: Sourced<Classic>,
    /// How the log is written.
    pub log_format: Sourced<LogFormat>,
    /// What the operator should hear about the port file.
    pub port_warning: Option<String>,
}

/// Reads the configuration file. One that was not named may be missing.
///
/// # Errors
/// If it cannot be read, or says something that makes no sense.
pub fn read_file(named: Option<&Path>) -> anyhow::Result<Settings> {
    let path = named.unwrap_or(Path::new(CONFIG_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let settings: Settings = toml::from_str(&text)
                .with_context(|| format!("{} makes no sense", path.display()))?;
            settings.check().with_context(|| format!("{} makes no sense", path.display()))?;
            Ok(settings)
        }
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => {
            Ok(Settings::default())
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

impl Settings {
    /// The bounds that clap checks for flags.
    fn check(&self) -> anyhow::Result<()> {
        if self.workers.is_some_and(|count| !(1..=256).contains(&count)) {
            bail!("workers must be 1 to 256");
        }
        let counts = [self.max_connections, self.max_connections_per_address, self.max_uploads];
        if counts.contains(&Some(0)) {
            bail!("a number of connections or uploads must be at least 1");
        }
        Ok(())
    }
}

impl Config {
    /// Puts flags, file and defaults together.
    ///
    /// # Errors
    /// If an address to listen on makes no sense.
    pub fn new(flags: Settings, file: Settings) -> anyhow::Result<Self> {
        let info_port = choose(flags.info_port, file.info_port, || PathBuf::from("info.port"));
        let (listen, port_warning) = listen(&flags.listen, &file.listen, &info_port.value)?;
        let cores = || available_parallelism().map_or(1, |cores| cores.get().min(256) as u16);
        Ok(Self {
            listen,
            data: choose(flags.data, file.data, || PathBuf::from(crate::DATA_DIR)),
            info_port,
            workers: choose(flags.workers, file.workers, cores),
            max_connections: choose(flags.max_connections, file.max_connections, || {
                CONNECTIONS_MAX as u32
            }),
            max_connections_per_address: optional(
                flags.max_connections_per_address,
                file.max_connections_per_address,
            ),
            max_registrations_per_minute: optional(
                flags.max_registrations_per_minute,
                file.max_registrations_per_minute,
            ),
            max_uploads: choose(flags.max_uploads, file.max_uploads, || UPLOADS_MAX as u32),
            keep_free: optional(flags.keep_free, file.keep_free),
            existing: choose(flags.existing, file.existing, Existing::default),
            classic: choose(flags.classic, file.classic, Classic::default),
            log_format: choose(flags.log_format, file.log_format, LogFormat::default),
            port_warning,
        })
    }
}

fn choose<T>(flag: Option<T>, file: Option<T>, default: impl FnOnce() -> T) -> Sourced<T> {
    match (flag, file) {
        (Some(value), _) => Sourced { value, source: Source::Flag },
        (None, Some(value)) => Sourced { value, source: Source::File },
        (None, None) => Sourced { value: default(), source: Source::Default },
    }
}

fn optional<T>(flag: Option<T>, file: Option<T>) -> Sourced<Option<T>> {
    choose(flag.map(Some), file.map(Some), || None)
}

/// The addresses to listen on, and what to warn about.
fn listen(
    flags: &[String],
    file: &[String],
    info_port: &Path,
) -> anyhow::Result<(Sourced<Vec<SocketAddr>>, Option<String>)> {
    let (texts, source) =
        if flags.is_empty() { (file, Source::File) } else { (flags, Source::Flag) };
    if !texts.is_empty() {
        let mut value = Vec::new();
        for text in texts {
            value.extend(resolve(text)?);
        }
        return Ok((Sourced { value, source }, None));
    }
    let on_port = |port| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    Ok(match port::read(info_port) {
        Ok(port) => (Sourced { value: on_port(port), source: Source::PortFile }, None),
        Err(why) => {
            let warning = format!("{why}; listening on the default port {}", port::DEFAULT_PORT);
            (Sourced { value: on_port(port::DEFAULT_PORT), source: Source::Default }, Some(warning))
        }
    })
}

fn resolve(text: &str) -> anyhow::Result<impl Iterator<Item = SocketAddr>> {
    text.to_socket_addrs().with_context(|| {
        format!("cannot listen on {text:?}: give an address and a port, such as 0.0.0.0:1256")
    })
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::File => CONFIG_FILE,
            Self::PortFile => "info.port",
            Self::Default => "default",
        })
    }
}

/// As a `coffer.toml` that says the same, with the source of each value behind it.
impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: String, source: Source| {
            let mut text = String::new();
            write!(text, "{key} = {value}")?;
            writeln!(f, "{text:<48} # {source}")
        };
        let listen: Vec<String> = self.listen.value.iter().map(ToString::to_string).collect();
        line("listen", format!("{listen:?}"), self.listen.source)?;
        line("data", quoted(&self.data.value), self.data.source)?;
        line("info-port", quoted(&self.info_port.value), self.info_port.source)?;
        line("workers", self.workers.value.to_string(), self.workers.source)?;
        line(
            "max-connections",
            self.max_connections.value.to_string(),
            self.max_connections.source,
        )?;
        for (key, limit) in [
            ("max-connections-per-address", &self.max_connections_per_address),
            ("max-registrations-per-minute", &self.max_registrations_per_minute),
        ] {
            // What is not limited cannot be said in TOML but by not saying it.
            let (key, value) = match limit.value {
                Some(value) => (key.to_owned(), value.to_string()),
                None => (format!("# {key}"), "not set".to_owned()),
            };
            line(&key, value, limit.source)?;
        }
        line("max-uploads", self.max_uploads.value.to_string(), self.max_uploads.source)?;
        let (key, value) = match self.keep_free.value {
            Some(size) => ("keep-free", format!("\"{size}\"")),
            None => ("# keep-free", "not set".to_owned()),
        };
        line(key, value, self.keep_free.source)?;
        line("existing", lowercase(&self.existing.value), self.existing.source)?;
        line("classic", lowercase(&self.classic.value), self.classic.source)?;
        line("log-format", lowercase(&self.log_format.value), self.log_format.source)
    }
}

fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

fn lowercase(value: &impl fmt::Debug) -> String {
    format!("\"{}\"", format!("{value:?}").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let flags = Settings { workers: Some(3), ..Settings::default() };
        let file =
            toml::from_str("workers = 5\ndata = \"/srv/coffer\"\nlisten = [\"127.0.0.1:0\"]")
                .expect("valid");
        let config = Config::new(flags, file).expect("valid");
        assert_eq!(config.workers, Sourced { value: 3, source: Source::Flag });
        assert_eq!(config.data, Sourced { value: "/srv/coffer".into(), source: Source::File });
        assert_eq!(config.existing, Sourced { value: Existing::Dialect, source: Source::Default });
        assert_eq!(config.listen.source, Source::File);
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let flags = Settings {
            listen: vec!["[::1]:7".into()],
            existing: Some(Existing::Refuse),
            keep_free: Some(Size(3 << 20)),
            ..Settings::default()
        };
        let config = Config::new(flags, Settings::default()).expect("valid");
        let again: Settings = toml::from_str(&config.to_string()).expect("our own text");
        assert_eq!(again.existing, Some(Existing::Refuse));
        assert_eq!(again.keep_free, Some(Size(3 << 20)));
        assert_eq!(
            Config::new(Settings::default(), again).expect("valid").listen.value,
            config.listen.value
        );
        assert!(config.to_string().contains("# flag"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(toml::from_str::<Settings>("wrokers = 5").is_err(), "a misspelt key");
        assert!(Settings { workers: Some(0), ..Settings::default() }.check().is_err());
        for bad in ["localhost", "1256", ":", "127.0.0.1:99999"] {
            let flags = Settings { listen: vec![bad.into()], ..Settings::default() };
            assert!(Config::new(flags, Settings::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_file_without_a_port_is_a_warning_and_1256() {
        let folder = tempfile::tempdir().expect("a folder");
        let info_port = folder.path().join("info.port");
        let flags = Settings { info_port: Some(info_port.clone()), ..Settings::default() };
        let config = Config::new(flags.clone(), Settings::default()).expect("valid");
        assert_eq!(config.listen.value, [SocketAddr::from(([127, 0, 0, 1], 1256))]);
        assert!(config.port_warning.expect("a warning").contains("info.port"));
        std::fs::write(&info_port, "4321").expect("writes");
        let config = Config::new(flags, Settings::default()).expect("valid");
        assert_eq!(config.listen.value, [SocketAddr::from(([127, 0, 0, 1], 4321))]);
        assert_eq!((config.listen.source, config.port_warning), (Source::PortFile, None));
    }
}
