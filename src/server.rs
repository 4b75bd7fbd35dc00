//! The whole server: a data folder brought in order, threads started, the loop run, everything stopped in order.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use coffer_tls::key_file;
use listenfd::ListenFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use socket2::{Domain, Protocol, Socket, Type};

use crate::catalog::{self, CatalogError, Delivery, Outcome, Reader};
use crate::config::Config;
use crate::job::{Completion, Done, Enrollment, Failure, SecureClient, UploadFailure};
use crate::limits::{
    CATALOG_QUEUE_MAX, FILES_PER_WORKER, LISTEN_BACKLOG, OPEN_UPLOADS_SHARE, RESERVED_FILES,
};
use crate::queue::Queue;
use crate::reactor::{Completions, End, LISTENERS_MAX, Reactor};
use crate::recovery::{self, Opened};
use crate::session::{Classic, Quotas, Shared};
use crate::storage::{BlobStore, Room};
use crate::view::{View, ViewSignal};
use crate::worker::{Tag, Tools, Workers, remove_unpublished};

/// Runs the server until it is told to stop.
///
/// # Errors
/// Why it could not start, or had to stop.
pub fn serve(config: &Config, options: recovery::Options) -> anyhow::Result<()> {
    if let Some(warning) = &config.port_warning {
        tracing::warn!("{warning}");
    }
    let signals = Signals::new([SIGTERM, SIGINT]).context("cannot watch for signals")?;
    let (connections_max, quotas) = admit(config)?;
    let Opened { dir, lock, writer, store, report } = recovery::open(&config.data.value, options)?;
    tracing::info!(data = %config.data.value.display(), "{report}");
    let identity = key_file::load_or_create(&dir.identity())?;
    tracing::info!(fingerprint = %identity.pin(), "clients of the secure door pin this server");
    let sockets = match inherited()? {
        sockets if sockets.is_empty() => bind(&config.listen.value)?,
        sockets => sockets,
    };
    let addresses = sockets.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let classic = config.classic.value;
    let shared = Shared::new(config.existing.value, quotas, classic);
    let mut reactor = Reactor::new(sockets, signals, shared, connections_max)
        .context("cannot start the event loop")?;

    let room = Room::new(dir.root(), config.keep_free.value.map(|kept| kept.0))
        .context("cannot see how much room the disk has")?;
    let store: Arc<dyn BlobStore> = Arc::new(store.within(room));
    let queue = Arc::new(Queue::new(CATALOG_QUEUE_MAX));
    let view =
        View::spawn(dir.clone(), Reader::open(&dir.catalog())?).context("cannot start the view")?;
    let deliver = deliver(reactor.completions(), Arc::clone(&store), view.signal());
    let catalog =
        catalog::spawn(writer, Arc::clone(&queue), deliver).context("cannot start the catalog")?;
    let tools = Tools {
        store,
        catalog: queue,
        answers: reactor.completions(),
        catalog_path: dir.catalog(),
        tls: identity.server_config(),
    };
    let workers = Workers::start(config.workers.value.into(), &tools)?;

    announce(&addresses);
    announce_classic(classic);
    let end = reactor.run(&workers).context("the event loop failed")?;
    drop(reactor);
    workers.stop();
    if catalog.join().is_err() {
        bail!("the catalog's thread panicked");
    }
    view.stop();
    drop(lock);
    conclude(&end)
}

/// How many connections, and how many uploads with an open file, the limit on open files leaves room for. The soft
/// limit is raised as far as it goes.
fn admit(config: &Config) -> anyhow::Result<(usize, Quotas)> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!("cannot raise the limit on open files");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let reserved = RESERVED_FILES + FILES_PER_WORKER * u64::from(config.workers.value);
    let room = usize::try_from(files.saturating_sub(reserved)).unwrap_or(usize::MAX);
    let wanted = config.max_connections.value as usize;
    let connections = wanted.min(room - room / OPEN_UPLOADS_SHARE);
    if connections == 0 {
        bail!(
            "the limit of {files} open files leaves no room for connections: raise it (ulimit -n)"
        );
    }
    if connections < wanted {
        tracing::warn!(
            "the limit of {files} open files allows {connections} connections, not {wanted}"
        );
    }
    let open_files = room - connections;
    tracing::debug!(files, connections, open_files, "open files");
    let quotas = Quotas {
        connections_per_address: config
            .max_connections_per_address
            .value
            .map_or(usize::MAX, |max| max as usize),
        registrations_per_minute: config.max_registrations_per_minute.value,
        uploads: config.max_uploads.value as usize,
        open_files,
    };
    Ok((connections, quotas))
}

/// Sockets that whoever started the server is listening on already (`LISTEN_FDS`, as systemd does it). They take the
/// place of the configured addresses, and a restart then refuses no connection.
fn inherited() -> anyhow::Result<Vec<TcpListener>> {
    let mut inherited = ListenFd::from_env();
    let sockets =
        (0..inherited.len()).filter_map(|index| inherited.take_tcp_listener(index).transpose());
    let sockets = sockets
        .collect::<Result<Vec<_>, _>>()
        .context("an inherited file descriptor is no listening socket")?;
    if sockets.len() > LISTENERS_MAX {
        bail!("{} inherited sockets are more than {LISTENERS_MAX}", sockets.len());
    }
    Ok(sockets)
}

fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    if addresses.len() > LISTENERS_MAX {
        bail!("{} addresses to listen on are more than {LISTENERS_MAX}", addresses.len());
    }
    addresses
        .iter()
        .map(|address| bind_one(*address).map_err(|error| cannot_listen(*address, &error)))
        .collect()
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => {
            "stop the program that listens there, or choose another port with --listen"
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges; choose another with --listen"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address; choose one of its own with --listen"
        }
        _ => "choose another address with --listen",
    };
    anyhow!("cannot listen on {address} ({error}): {advice}")
}

fn bind_one(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A server that is started again need not wait for the connections of the one before.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Says on stdout where the server listens. Nobody needs to read it: a closed pipe is no reason to stop.
fn announce(addresses: &[SocketAddr]) {
    let lines: String =
        addresses.iter().map(|address| format!("listening on {address}\n")).collect();
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!("cannot say on stdout where the server listens: {error}");
    }
    for address in addresses {
        tracing::info!("listening on {address}");
    }
}

/// Says who may use the door that authenticates nobody.
fn announce_classic(classic: Classic) {
    match classic {
        Classic::Loopback => tracing::info!("the classic protocol is open to this machine only"),
        Classic::Off => tracing::info!("the classic protocol is off"),
        Classic::Everywhere => tracing::warn!(
            "the classic protocol is open to everybody: it proves neither who the client is nor who the server is"
        ),
    }
}

/// Takes the catalog's outcomes back to the reactor, after their commit.
fn deliver(
    completions: Arc<Completions>,
    store: Arc<dyn BlobStore>,
    view: Arc<ViewSignal>,
) -> impl FnMut(Vec<Delivery<Tag>>) + Send {
    move |deliveries| {
        if let Some(error) = deliveries.iter().find_map(|(_, result)| fatal(result)) {
            // Whether this batch comes back to life after a restart is open: nothing is answered, nothing unlinked.
            return completions.fail(error.to_string());
        }
        let published =
            deliveries.iter().any(|(_, result)| matches!(result, Ok(Outcome::VersionAdded { .. })));
        completions.extend(deliveries.into_iter().map(|delivery| completion(&*store, delivery)));
        if published {
            view.wake();
        }
    }
}

/// The error after which nothing may be answered any more, if the result is one.
#[must_use]
pub fn fatal(result: &Result<Outcome, Arc<CatalogError>>) -> Option<&CatalogError> {
    result.as_ref().err().map(|error| &**error).filter(|error| error.is_fatal())
}

/// What the catalog's outcome means to whom it was asked for. A blob whose version was not taken is removed.
pub fn completion(store: &dyn BlobStore, (tag, result): Delivery<Tag>) -> Completion {
    let failure = |error: Arc<CatalogError>| Failure(error.to_string());
    match tag {
        Tag::Client(connection) => {
            let added = result.map(|outcome| outcome == Outcome::ClientAdded).map_err(failure);
            Completion { connection, done: Done::ClientAdded(added) }
        }
        Tag::Enrollment(connection) => {
            let enrolled = result.map_err(failure).and_then(enrollment);
            Completion { connection, done: Done::Enrolled(enrolled) }
        }
        Tag::Version(connection, upload, blob) => {
            let result = match result {
                Ok(Outcome::VersionAdded { version }) => Ok(version),
                Ok(Outcome::FileExists) => Err(UploadFailure::Exists),
                Ok(_) => Err(UploadFailure::NoClient),
                Err(error) => Err(UploadFailure::Ours(failure(error))),
            };
            if let (Err(_), Some(blob)) = (&result, blob) {
                remove_unpublished(store, blob);
            }
            Completion { connection, done: Done::Published(upload, result) }
        }
    }
}

fn enrollment(outcome: Outcome) -> Result<Enrollment, Failure> {
    Ok(match outcome {
        Outcome::Enrolled { name, enrolled_at, already } => {
            let enrolled_at = enrolled_at.cast_unsigned();
            let client = SecureClient { name, enrolled_at, is_revoked: false };
            Enrollment::Done { client, already }
        }
        Outcome::BadCode => Enrollment::BadCode,
        Outcome::NameTaken => Enrollment::NameTaken,
        Outcome::KeyTaken => Enrollment::KeyTaken,
        // The fresh id was not fresh any more: the next try draws another.
        other => return Err(Failure(format!("cannot enrol a client now: {other:?}"))),
    })
}

fn conclude(end: &End) -> anyhow::Result<()> {
    match end {
        End::Drained => tracing::info!("stopped"),
        End::CutOff(connections) => {
            tracing::warn!(connections, "stopped; some connections were cut off");
        }
        End::Fatal(error) => {
            bail!(
                "{error}. Nothing that was acknowledged is lost; a restart finds out what is stored"
            )
        }
    }
    Ok(())
}
