//! A server of our own: started, watched, killed and started again, stopped.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::limits::{START_MAX, STOP_MAX};
use crate::process::Usage;

/// How often the server was killed and started. Even: it listens. Odd: it does not.
#[derive(Clone, Default)]
pub(crate) struct Outages(Arc<AtomicU32>);

impl Outages {
    pub(crate) fn now(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// How often the server was killed.
    pub(crate) fn count(&self) -> u32 {
        self.now().div_ceil(2)
    }

    /// Whether something begun at `then` may have met a server that was down.
    pub(crate) fn touch(&self, then: u32) -> bool {
        !then.is_multiple_of(2) || then != self.now()
    }

    fn step(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What to start, and how.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) data: PathBuf,
    /// Where its stderr goes.
    pub(crate) log: PathBuf,
    pub(crate) connections: usize,
    pub(crate) arguments: Vec<String>,
}

/// A server of our own; killed when dropped.
pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    killer: Option<(Sender<()>, JoinHandle<anyhow::Result<()>>)>,
}

struct Shared {
    launch: Launch,
    process: Mutex<Child>,
    /// What the processes before it used.
    past: Mutex<Usage>,
    outages: Outages,
}

impl Server {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// If it does not start; with the end of its log.
    pub(crate) fn start(launch: Launch) -> anyhow::Result<Self> {
        let (process, address) = launch.start(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let shared = Shared {
            launch,
            process: Mutex::new(process),
            past: Mutex::default(),
            outages: Outages::default(),
        };
        Ok(Self { shared: Arc::new(shared), address, killer: None })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn outages(&self) -> Outages {
        self.shared.outages.clone()
    }

    /// What it uses now, with the CPU time and the peak of the processes that were killed. None while it is down.
    pub(crate) fn usage(&self) -> Option<Usage> {
        if !self.shared.outages.now().is_multiple_of(2) {
            return None;
        }
        self.shared.usage().ok()
    }

    /// Kills it and starts it anew, each time `interval` after it began to listen, until [`Server::stop_killing`].
    pub(crate) fn keep_killing(&mut self, interval: Duration) {
        let (stop, stopped) = channel();
        let (shared, address) = (Arc::clone(&self.shared), self.address);
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                shared.kill_and_start(address)?;
            }
            Ok(())
        });
        self.killer = Some((stop, thread));
    }

    /// Why it could not be started anew, if it could not.
    ///
    /// # Errors
    /// That.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match &self.killer {
            Some((_, thread)) if thread.is_finished() => self.stop_killing(),
            _ => Ok(()),
        }
    }

    /// Leaves it alone from now on. It listens afterwards.
    ///
    /// # Errors
    /// Why it could not be started anew, if it could not.
    pub(crate) fn stop_killing(&mut self) -> anyhow::Result<()> {
        let Some((stop, thread)) = self.killer.take() else { return Ok(()) };
        drop(stop);
        thread.join().expect("it does not panic")
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// If it does not stop, or says that something went wrong.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.stop_killing()?;
        let mut process = self.shared.process();
        kill_process(Pid::from_child(&process), Signal::TERM).context("cannot stop the server")?;
        let start = Instant::now();
        loop {
            match process.try_wait().context("cannot wait for the server")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    bail!("the server ended with {status}{}", self.shared.launch.tail())
                }
                None if start.elapsed() > STOP_MAX => {
                    bail!("the server did not stop within {} s", STOP_MAX.as_secs())
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop_killing();
        let mut process = self.shared.process();
        // After `stop` both do nothing.
        let _ = process.kill();
        let _ = process.wait();
    }
}

impl Shared {
    fn process(&self) -> std::sync::MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usage(&self) -> std::io::Result<Usage> {
        // Held during a restart; nobody asks then, or at worst waits for it.
        let pid = self.process().id();
        let past = *self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let mut usage = Usage::of(pid)?;
        usage.cpu += past.cpu;
        usage.peak_kib = usage.peak_kib.max(past.peak_kib);
        Ok(usage)
    }

    fn kill_and_start(&self, address: SocketAddr) -> anyhow::Result<()> {
        let used = self.usage().context("the server has ended by itself")?;
        self.outages.step();
        let mut process = self.process();
        process.kill().context("cannot kill the server")?;
        process.wait().context("cannot wait for the server")?;
        *self.past.lock().unwrap_or_else(PoisonError::into_inner) = used;
        (*process, _) = self.launch.start(address).context("the killed server does not start")?;
        self.outages.step();
        Ok(())
    }
}

impl Launch {
    /// Starts a process and waits until it says where it listens.
    fn start(&self, listen: SocketAddr) -> anyhow::Result<(Child, SocketAddr)> {
        let program = &self.program;
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write to {}", self.log.display()))?;
        let mut process = Command::new(program)
            .args(["serve", "--config", "/dev/null", "--listen", &listen.to_string()])
            .args(["--max-connections", &self.connections.to_string()])
            .arg("--data")
            .arg(&self.data)
            .args(&self.arguments)
            .env(cofferd::log::LOG_VARIABLE, "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        match self.await_address(&mut process) {
            Ok(address) => Ok((process, address)),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    fn await_address(&self, process: &mut Child) -> anyhow::Result<SocketAddr> {
        let out = process.stdout.take().context("the server has no stdout")?;
        let (say, said) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            let result = BufReader::new(out).read_line(&mut line).map(|_| line);
            let _ = say.send(result);
        });
        let line = match said.recv_timeout(START_MAX) {
            Ok(line) => line.context("cannot read what the server says")?,
            Err(_) => bail!("the server did not listen within {} s", START_MAX.as_secs()),
        };
        let address = line.trim().strip_prefix("listening on ").and_then(|text| text.parse().ok());
        address.with_context(|| format!("the server did not start{}", self.tail()))
    }

    /// The last line of its log, to be appended to an error.
    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.trim_end().lines().last().map_or_else(String::new, |line| format!(": {line}"))
    }
}

/// The `cofferd` next to this program.
///
/// # Errors
/// If there is none.
pub(crate) fn default_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let program = own.with_file_name("cofferd");
    if !program.is_file() {
        bail!(
            "there is no {}: build it (cargo build --release), or name one with --spawn PATH",
            program.display()
        );
    }
    Ok(program)
}
