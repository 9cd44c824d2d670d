//! How others speak to the driver.

use crate::core::output::Input;
use crate::core::{Core, EnrolRefusal};
use bigdata_common::Timestamp;
use bigdata_common::internal::{EnrolRequest, NodeSpecification};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Inputs and questions that wait.
const QUEUE_LENGTH: usize = 256;
/// The longest that a question waits for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Looks at the core, and answers whoever asked.
pub(super) type Question = Box<dyn FnOnce(&Core, Timestamp) + Send>;

pub(super) enum Command {
    Step(Box<Input>, oneshot::Sender<()>),
    Enrol(EnrolRequest, oneshot::Sender<Result<NodeSpecification, EnrolRefusal>>),
    Ask(Question),
}

/// Why the driver does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    /// It waits for the registry or the database, or is being ended.
    #[error("the framework is starting, ending or busy")]
    Busy,
    /// Another replica leads, at that URL if one does.
    #[error("this replica of the framework does not lead")]
    NotLeader(Option<String>),
}

enum Seat {
    Leads(mpsc::Sender<Command>),
    Follows(Option<String>),
}

/// Speaks to the driver, in whichever term this replica leads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle(Arc<RwLock<Seat>>);

impl Handle {
    /// One of a replica that does not lead yet.
    pub(crate) fn following() -> Self {
        Self(Arc::new(RwLock::new(Seat::Follows(None))))
    }

    /// This replica leads: what is asked from now on waits for the driver that gets these.
    pub(crate) fn lead(&self) -> Commands {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        self.sit(Seat::Leads(sender));
        Commands(receiver)
    }

    /// This replica does not lead; the URL of the one that does, where it is known.
    pub(crate) fn follow(&self, leader: Option<String>) {
        self.sit(Seat::Follows(leader));
    }

    fn sit(&self, seat: Seat) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = seat;
    }

    fn commands(&self) -> Result<mpsc::Sender<Command>, Unavailable> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Seat::Leads(commands) => Ok(commands.clone()),
            Seat::Follows(leader) => Err(Unavailable::NotLeader(leader.clone())),
        }
    }

    /// Takes an input in; returns when it is stored.
    ///
    /// # Errors
    /// [`Unavailable`]; busy, it may be stored all the same.
    pub(crate) async fn step(&self, input: Input) -> Result<(), Unavailable> {
        let (done, stored) = oneshot::channel();
        self.send(Command::Step(Box::new(input), done), stored).await
    }

    /// Takes an executor in.
    ///
    /// # Errors
    /// [`Unavailable`], or the refusal.
    pub(crate) async fn enrol(
        &self,
        request: EnrolRequest,
    ) -> Result<Result<NodeSpecification, EnrolRefusal>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Enrol(request, reply), answer).await
    }

    /// Asks the core something.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |core, now| {
            // Whoever asked may have given up.
            let _ = reply.send(question(core, now));
        });
        self.send(Command::Ask(question), answer).await
    }

    async fn send<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Result<T, Unavailable> {
        let commands = self.commands()?;
        let asked = async {
            commands.send(command).await.map_err(|_| Unavailable::Busy)?;
            answer.await.map_err(|_| Unavailable::Busy)
        };
        tokio::time::timeout(ANSWER_LIMIT, asked).await.unwrap_or(Err(Unavailable::Busy))
    }
}

/// Commands for a driver that is to be started.
pub(crate) struct Commands(pub(super) mpsc::Receiver<Command>);
