//! Reaching the server: every address of it, and some patience with what passes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::message::Welcome;
use coffer_tls::Identity;
use rustls::ClientConfig;

use super::Observer;
use super::connection::{Connection, Problem};
use super::failure::Failure;

/// How often all addresses are tried in all.
const TRIES_MAX: u32 = 4;

/// The pause after the first try; it doubles each time.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest that a server may ask to wait for: it counts in minutes. Whoever says more is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(90);

/// A server, and who wants to speak with it.
pub(super) struct Line<'a> {
    /// Each `host:port`, in the order in which to try.
    pub(super) addresses: &'a [String],
    /// Who answers there.
    pub(super) server: Pin,
    /// Who asks.
    pub(super) identity: &'a Identity,
}

/// An address, and why it did not help.
pub(super) type Tried = (String, Problem);

impl Line<'_> {
    /// Has `talk` speak with the server, and returns what came of it and the address that answered. All of it may be
    /// done several times over.
    pub(super) fn converse<T>(
        &self,
        observer: &mut dyn Observer,
        mut talk: impl FnMut(&mut Connection, Welcome) -> Result<T, Problem>,
    ) -> Result<(String, T), Failure> {
        let config = self.identity.client_config(self.server);
        for number in 1.. {
            let tried = match self.once(&config, &mut talk) {
                Ok(done) => return Ok(done),
                Err(tried) => tried,
            };
            let Some(pause) = pause(number, &tried, rand::random()) else {
                return Err(Failure::of(self.server, tried));
            };
            observer.waiting(&Failure::of(self.server, tried), pause);
            thread::sleep(pause);
        }
        unreachable!("the number of tries is bounded");
    }

    /// Tries each address, until one leads to the server. The last one tried says what came of it then.
    fn once<T>(
        &self,
        config: &Arc<ClientConfig>,
        talk: &mut impl FnMut(&mut Connection, Welcome) -> Result<T, Problem>,
    ) -> Result<(String, T), Vec<Tried>> {
        let mut tried = Vec::new();
        for address in self.addresses {
            let result = Connection::open(address, config).and_then(|(mut connection, welcome)| {
                let result = talk(&mut connection, welcome)?;
                connection.close();
                Ok(result)
            });
            match result {
                Ok(result) => return Ok((address.clone(), result)),
                Err(problem) => {
                    let is_answer = problem.is_answer();
                    tried.push((address.clone(), problem));
                    if is_answer {
                        break;
                    }
                }
            }
        }
        Err(tried)
    }
}

/// How long to wait before the next try; `None` if there is none. `dice` spreads those who fail together.
fn pause(number: u32, tried: &[Tried], dice: f64) -> Option<Duration> {
    if number >= TRIES_MAX {
        return None;
    }
    let backoff = PAUSE * 2_u32.pow(number - 1);
    let spread = backoff.mul_f64(0.5 + dice);
    match &tried.last()?.1 {
        Problem::Refused(message) => {
            let wait = Duration::from_millis(message.retry_after_ms?);
            (wait <= RETRY_AFTER_MAX).then_some(wait + spread)
        }
        problem if problem.is_answer() => None,
        _ => tried.iter().any(|(_, problem)| problem.may_pass()).then_some(spread),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_protocol::v4::message::{ErrorCode, ErrorMessage};
    use std::io;

    fn tried(problem: Problem) -> Tried {
        ("there:1256".to_owned(), problem)
    }

    fn unreachable() -> Tried {
        tried(Problem::Io(io::Error::from(io::ErrorKind::ConnectionRefused)))
    }

    fn refused(retry_after_ms: Option<u64>) -> Tried {
        let message = ErrorMessage::new(ErrorCode::TooMany, "too many");
        tried(Problem::Refused(ErrorMessage { retry_after_ms, ..message }))
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<_> = (1..=5).map(|number| pause(number, &[unreachable()], 0.5)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(500), ms(1000), ms(2000), None, None]);
        assert_eq!(pause(1, &[unreachable()], 0.0), ms(250));
        assert_eq!(pause(1, &[unreachable()], 1.0), ms(750));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let wrong = || tried(Problem::WrongServer(Pin([1; 32])));
        assert_eq!(pause(1, &[wrong()], 0.5), None);
        assert!(pause(1, &[unreachable(), wrong()], 0.5).is_some());
        assert_eq!(pause(1, &[unreachable(), tried(Problem::Unknown)], 0.5), None);
        assert_eq!(pause(1, &[refused(None)], 0.5), None);
        assert_eq!(pause(1, &[refused(Some(60_000))], 0.5), Some(Duration::from_millis(60_500)));
        assert_eq!(pause(1, &[refused(Some(u64::MAX))], 0.5), None);
        assert_eq!(pause(TRIES_MAX, &[refused(Some(1))], 0.5), None);
    }
}
