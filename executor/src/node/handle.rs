//! A node under way, for those who watch and steer it.

use super::Observation;
use super::lifecycle::End;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// What can be asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The workload shall run.
    Start,
    /// The workload shall be down until it is started again.
    Stop,
    /// The workload shall be started anew.
    Restart,
}

/// What reaches the node's own task.
pub(super) enum Order {
    Wish(Wish, oneshot::Sender<Result<(), String>>),
    End(End, Duration),
}

/// A node under way.
#[derive(Clone)]
pub struct Handle {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) observed: watch::Receiver<Observation>,
    pub(super) report_interval: Option<Duration>,
}

impl Handle {
    /// Asks for something and waits until it is so.
    ///
    /// # Errors
    /// Why it is not going to be so, for people.
    pub async fn wish(&self, wish: Wish) -> Result<(), String> {
        let over = || "the node has ended".to_owned();
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Wish(wish, reply)).await.map_err(|_| over())?;
        answer.await.unwrap_or_else(|_| Err(over()))
    }

    /// Ends the node for good; its workload has `grace` for it. [`Observation::end`] tells when.
    pub async fn end(&self, end: End, grace: Duration) {
        // A node that has ended already needs no end.
        let _ = self.orders.send(Order::End(end, grace)).await;
    }

    /// How often its health is to be told again, though it stays the same; None: it declares none.
    pub fn report_interval(&self) -> Option<Duration> {
        self.report_interval
    }

    /// What is to be seen now and from now on.
    pub fn observed(&self) -> watch::Receiver<Observation> {
        self.observed.clone()
    }
}
