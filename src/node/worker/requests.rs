//! What the node asks of a core.

use tokio::sync::oneshot;

use super::{CURRENT, LocalWorker, Worker};
use crate::command::{Command, Error, Outcome};
use crate::node::mailbox::{Control, WorkerReport};
use crate::node::responder::Responder;
use crate::shard::machine::SlotCapture;

impl Worker {
    fn report(&self) -> WorkerReport {
        WorkerReport { shard: self.shard.stats(), tcp: self.tcp.clone(), turns: self.turns }
    }

    fn captures(&mut self, heads: usize) -> Vec<SlotCapture> {
        // The log must have the records of what is captured, before the snapshot asks for the log's
        // tail.
        self.settle();
        self.shard.next_captures(heads)
    }
}

impl LocalWorker {
    pub(super) fn control(&self, control: Control) {
        match control {
            Control::Run(task) => self.run(task),
            Control::Call(command, sender) => self.called(command, sender),
            Control::BeginSnapshot(number) => self.0.borrow_mut().shard.begin_snapshot(number),
            Control::Capture(heads, sender) => {
                let captures = self.0.borrow_mut().captures(heads);
                // Sending fails if the snapshot has given up.
                drop(sender.try_send(captures));
            }
            Control::Replay(first, batch) => self.0.borrow_mut().replay(first, &batch),
            Control::Probe => self.0.borrow_mut().probe(),
            Control::Probed(digest) => self.0.borrow_mut().probed(digest),
            Control::EndSnapshot => self.0.borrow_mut().shard.end_snapshot(),
            Control::WorkerReport(sender) => drop(sender.send(self.0.borrow().report())),
            Control::Drain(sender) => self.0.borrow_mut().draining.push(sender),
        }
    }

    /// Takes a command of another thread. A handover may have begun since that thread asked.
    fn called(&self, command: Command, sender: oneshot::Sender<Outcome>) {
        let (node, kind) = (self.node(), command.kind());
        let responder = Responder::of_call(kind, sender);
        match node.hands_over(kind) {
            Some(error) => self.refuse(responder, error),
            None => self.submit(responder, command),
        }
    }

    /// Replies with an error to a request that no router got.
    pub fn refuse(&self, responder: Responder, error: Error) {
        self.0.borrow_mut().finish(responder, Err(error));
    }

    /// Runs a task. While it runs, this is the worker of the calling thread.
    fn run(&self, task: Box<dyn FnOnce() + Send>) {
        let before = CURRENT.replace(Some(self.clone()));
        task();
        CURRENT.set(before);
    }

    /// Asks the snapshot thread for a snapshot. The core serves other work meanwhile.
    pub(super) fn snapshot(&self, responder: Responder) {
        let node = self.node();
        let local = self.clone();
        tokio::task::spawn_local(async move {
            let outcome = node.snapshot().await;
            local.0.borrow_mut().finish(responder, outcome);
        });
    }
}
