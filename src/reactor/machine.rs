//! How the [`shell`](super::shell) drives the server's connections.

use super::shell::Machine;
use crate::buffer::Buffer;
use crate::connection::Surroundings;
use crate::door::Door;
use crate::moment::Moment;

impl Machine for Door {
    type Context<'a> = Surroundings<'a>;

    fn wants_input(&self) -> bool {
        self.wants_input()
    }
    fn is_patient(&self) -> bool {
        self.is_patient()
    }
    fn prepare(&mut self, buffer: &mut Buffer) {
        self.prepare(buffer);
    }
    fn receive(&mut self, cx: &mut Surroundings<'_>, buffer: Buffer, received: usize) {
        self.receive(cx, buffer, received);
    }
    fn end_of_input(&mut self, cx: &mut Surroundings<'_>) {
        self.end_of_input(cx);
    }
    fn lost(&mut self) {
        self.lost();
    }
    fn unsent(&mut self) -> &[u8] {
        self.outbox().unsent()
    }
    fn sent(&mut self, count: usize) {
        self.outbox().advance(count);
    }
    fn ends_output(&self) -> bool {
        self.ends_output()
    }
    fn is_finished(&self) -> bool {
        self.is_finished()
    }
    fn close(&mut self, cx: &mut Surroundings<'_>) {
        self.close(cx);
    }
    fn deadline(&self) -> Option<Moment> {
        self.deadline()
    }
    fn expire(&mut self, cx: &mut Surroundings<'_>) {
        self.expire(cx);
    }
}
