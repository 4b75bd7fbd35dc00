//! The mio shell: sockets in a slab with generations, remembered readiness, fill and flush, timers. It knows nothing of
//! what is spoken; it drives whatever implements [`Machine`].
//!
//! mio reports edges. Readiness is remembered until a read says otherwise, every connection gets one buffer's worth per
//! turn, and the poll does not sleep while somebody who may read is ready. Answers are flushed before the loop sleeps,
//! and WRITABLE matters only for what did not fit.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::buffer::{Buffer, Pool};
use crate::job::ConnectionId;
use crate::limits::{FLUSH_BYTES_MAX, PATIENT_READS_PER_TICK};
use crate::moment::Moment;

/// One peer's protocol, pure: what the shell feeds and drains.
pub trait Machine {
    /// What the machine needs from outside while it decides.
    type Context<'a>;

    /// A socket that was [still connecting](Shell::add_connecting) is connected. If it fails instead, it is
    /// [lost](Machine::lost).
    fn connected(&mut self, _cx: &mut Self::Context<'_>) {}
    /// Whether more bytes may come.
    fn wants_input(&self) -> bool;
    /// Whether what comes is part of a large transfer, which lets everybody else read first.
    fn is_patient(&self) -> bool {
        false
    }
    /// Puts what it kept in front of a fresh buffer.
    fn prepare(&mut self, buffer: &mut Buffer);
    /// Takes a prepared buffer that got `received` more bytes.
    fn receive(&mut self, cx: &mut Self::Context<'_>, buffer: Buffer, received: usize);
    /// The peer will send no more.
    fn end_of_input(&mut self, cx: &mut Self::Context<'_>);
    /// The connection is broken.
    fn lost(&mut self);
    /// What is to be sent next. Empty: nothing, for now.
    fn unsent(&mut self) -> &[u8];
    /// That many bytes of [`Machine::unsent`] were sent.
    fn sent(&mut self, count: usize);
    /// Whether the sending side is to be shut once everything is sent.
    fn ends_output(&self) -> bool;
    /// Whether the connection can be freed.
    fn is_finished(&self) -> bool;
    /// It is about to be freed.
    fn close(&mut self, cx: &mut Self::Context<'_>);
    /// When [`Machine::expire`] is due.
    fn deadline(&self) -> Option<Moment>;
    /// The deadline has come.
    fn expire(&mut self, cx: &mut Self::Context<'_>);
}

/// Lends a machine its context, for one call.
pub trait Host<M: Machine> {
    /// The context for a call about this connection.
    fn context<'a>(&'a mut self, id: ConnectionId, pool: &'a mut Pool) -> M::Context<'a>;
}

struct Slot<M> {
    id: ConnectionId,
    stream: TcpStream,
    machine: M,
    connecting: bool,
    readable: bool,
    /// The peer's side is shut: a short read is then not the last.
    read_closed: bool,
    writable: bool,
    output_ended: bool,
    queued: bool,
    timer: Option<Moment>,
}

/// All connections of one loop.
pub struct Shell<M> {
    slots: Slab<Slot<M>>,
    generation: u32,
    ready: VecDeque<ConnectionId>,
    /// Ready as well, but after those, and not with the last buffers.
    patient: VecDeque<ConnectionId>,
    timers: BinaryHeap<Reverse<(Moment, ConnectionId)>>,
    pool: Pool,
}

impl<M: Machine> Default for Shell<M> {
    fn default() -> Self {
        Self {
            slots: Slab::new(),
            generation: 0,
            ready: VecDeque::new(),
            patient: VecDeque::new(),
            timers: BinaryHeap::new(),
            pool: Pool::default(),
        }
    }
}

impl<M: Machine> Shell<M> {
    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes a connected socket in. Tokens are `first_token` plus the slot.
    ///
    /// # Errors
    /// If it cannot be registered; it is closed then.
    pub fn add(
        &mut self,
        registry: &Registry,
        first_token: usize,
        stream: TcpStream,
        machine: M,
    ) -> std::io::Result<ConnectionId> {
        self.insert(registry, first_token, stream, machine, false)
    }

    /// Takes a socket in whose connect has begun; [`Machine::connected`] says when it stands.
    ///
    /// # Errors
    /// If it cannot be registered; it is closed then.
    pub fn add_connecting(
        &mut self,
        registry: &Registry,
        first_token: usize,
        stream: TcpStream,
        machine: M,
    ) -> std::io::Result<ConnectionId> {
        self.insert(registry, first_token, stream, machine, true)
    }

    fn insert(
        &mut self,
        registry: &Registry,
        first_token: usize,
        mut stream: TcpStream,
        machine: M,
        connecting: bool,
    ) -> std::io::Result<ConnectionId> {
        let entry = self.slots.vacant_entry();
        self.generation = self.generation.wrapping_add(1);
        let id = ConnectionId { slot: entry.key() as u32, generation: self.generation };
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(first_token + entry.key()), interest)?;
        entry.insert(Slot {
            id,
            stream,
            machine,
            connecting,
            readable: false,
            read_closed: false,
            writable: !connecting,
            output_ended: false,
            queued: false,
            timer: None,
        });
        self.schedule(id);
        Ok(id)
    }

    /// Remembers what the poll said about a slot.
    pub fn note(&mut self, slot: usize, event: &Event, host: &mut impl Host<M>) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        let id = slot.id;
        slot.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        slot.read_closed |= event.is_read_closed() || event.is_error();
        if event.is_writable() {
            slot.writable = true;
        }
        if slot.connecting && (slot.writable || slot.read_closed) {
            slot.connecting = false;
            match slot.stream.take_error() {
                Ok(None) => slot.machine.connected(&mut host.context(id, &mut self.pool)),
                Ok(Some(_)) | Err(_) => slot.machine.lost(),
            }
        }
        self.settle(id, host);
    }

    /// One turn of reading, and of sending on, for everybody who was ready when it began.
    pub fn read_ready(&mut self, host: &mut impl Host<M>) {
        let (ready, patient) = (self.ready.len(), self.patient.len().min(PATIENT_READS_PER_TICK));
        for _ in 0..ready {
            if self.pool.is_empty() {
                return;
            }
            let Some(id) = self.ready.pop_front() else { break };
            self.serve(id, host);
        }
        for _ in 0..patient {
            if self.pool.is_low() {
                return;
            }
            let Some(id) = self.patient.pop_front() else { break };
            self.serve(id, host);
        }
    }

    fn serve(&mut self, id: ConnectionId, host: &mut impl Host<M>) {
        if let Some(slot) = self.slot_mut(id) {
            slot.queued = false;
            self.fill(id, host);
            self.settle(id, host);
        }
    }

    /// Whether [`Shell::read_ready`] has something to do, so that the poll must not sleep.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty() && !self.pool.is_empty()
            || !self.patient.is_empty() && !self.pool.is_low()
    }

    /// Calls a machine, if its connection is still there, and then does what follows from it.
    pub fn with(
        &mut self,
        id: ConnectionId,
        host: &mut impl Host<M>,
        call: impl FnOnce(&mut M, &mut M::Context<'_>),
    ) {
        let Some(slot) = self.slots.get_mut(id.slot as usize).filter(|slot| slot.id == id) else {
            return;
        };
        call(&mut slot.machine, &mut host.context(id, &mut self.pool));
        self.settle(id, host);
    }

    /// Calls every machine.
    pub fn with_all(
        &mut self,
        host: &mut impl Host<M>,
        mut call: impl FnMut(&mut M, &mut M::Context<'_>),
    ) {
        let ids: Vec<ConnectionId> = self.slots.iter().map(|(_, slot)| slot.id).collect();
        for id in ids {
            self.with(id, host, &mut call);
        }
    }

    /// Tells machines whose deadline has come.
    pub fn expire(&mut self, now: Moment, host: &mut impl Host<M>) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            let Some(slot) = self.slot_mut(id) else { continue };
            if slot.timer == Some(at) {
                slot.timer = None;
            }
            if slot.machine.deadline().is_some_and(|deadline| deadline <= now) {
                self.with(id, host, |machine, cx| machine.expire(cx));
            } else {
                self.schedule(id);
            }
        }
    }

    /// When [`Shell::expire`] is due next; at the earliest, for deadlines that moved on are found out then.
    #[must_use]
    pub fn next_timer(&self) -> Option<Moment> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    fn slot_mut(&mut self, id: ConnectionId) -> Option<&mut Slot<M>> {
        self.slots.get_mut(id.slot as usize).filter(|slot| slot.id == id)
    }

    /// Reads one buffer's worth.
    fn fill(&mut self, id: ConnectionId, host: &mut impl Host<M>) {
        let Some(slot) = self.slots.get_mut(id.slot as usize) else { return };
        if !slot.readable || !slot.machine.wants_input() {
            return;
        }
        let Some(mut buffer) = self.pool.take() else { return };
        slot.machine.prepare(&mut buffer);
        let room = buffer.spare_mut().len();
        let result = loop {
            match slot.stream.read(buffer.spare_mut()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let received = *result.as_ref().unwrap_or(&0);
        buffer.advance(received);
        // A short read emptied the socket; its next bytes make a new edge. Its end would not, if it was there before.
        slot.readable = received == room || (received > 0 && slot.read_closed);
        let mut cx = host.context(id, &mut self.pool);
        // Even an empty read gives the machine back what it had put into the buffer.
        slot.machine.receive(&mut cx, buffer, received);
        match result {
            Ok(0) => slot.machine.end_of_input(&mut cx),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => slot.machine.lost(),
        }
    }

    /// After anything happened to a connection: send, free it or plan its next turn.
    fn settle(&mut self, id: ConnectionId, host: &mut impl Host<M>) {
        let Some(slot) = self.slot_mut(id) else { return };
        flush(slot);
        if slot.machine.is_finished() {
            return self.free(id, host);
        }
        let reads = slot.readable && slot.machine.wants_input();
        let sends = slot.writable && !slot.machine.unsent().is_empty();
        if (reads || sends) && !slot.queued {
            slot.queued = true;
            let line = if slot.machine.is_patient() { &mut self.patient } else { &mut self.ready };
            line.push_back(id);
        }
        self.schedule(id);
    }

    fn free(&mut self, id: ConnectionId, host: &mut impl Host<M>) {
        let mut slot = self.slots.remove(id.slot as usize);
        slot.machine.close(&mut host.context(id, &mut self.pool));
        // The stream is dropped, which closes it and takes it out of the poll.
    }

    fn schedule(&mut self, id: ConnectionId) {
        let Some(slot) = self.slots.get_mut(id.slot as usize) else { return };
        let Some(deadline) = slot.machine.deadline() else { return };
        if slot.timer.is_none_or(|timer| deadline < timer) {
            slot.timer = Some(deadline);
            self.timers.push(Reverse((deadline, id)));
        }
    }
}

/// Sends what the socket takes, within the budget of a turn.
fn flush<M: Machine>(slot: &mut Slot<M>) {
    let mut budget = FLUSH_BYTES_MAX;
    while slot.writable && budget > 0 {
        let unsent = slot.machine.unsent();
        if unsent.is_empty() {
            break;
        }
        match slot.stream.write(&unsent[..unsent.len().min(budget)]) {
            Ok(count) => {
                slot.machine.sent(count);
                budget -= count;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => slot.writable = false,
            Err(_) => slot.machine.lost(),
        }
    }
    if slot.machine.ends_output() && slot.machine.unsent().is_empty() && !slot.output_ended {
        slot.output_ended = true;
        // An error means that the peer is gone already, which the next read will say.
        let _ = slot.stream.shutdown(Shutdown::Write);
    }
}
