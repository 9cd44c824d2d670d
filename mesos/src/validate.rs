//! What `required` promises and prost does not check: ids and names that are there.

use crate::v1::{
    AgentId, ExecutorId, FrameworkId, FrameworkInfo, InverseOffer, Offer, OfferId, OperationId, OperationStatus,
    TaskId, TaskInfo, TaskState, TaskStatus,
};

/// A message that lacks what it must have, or holds what nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A required field is missing or empty.
    #[error("'{0}' must be present")]
    Missing(&'static str),
    /// A field's value is not one of the protocol's.
    #[error("'{field}' has an unknown value {value}")]
    UnknownValue {
        /// The field.
        field: &'static str,
        /// Its number on the wire.
        value: i32,
    },
}

/// A message with fields that must not be empty.
pub trait Validate {
    /// Refuses a message whose required fields are empty.
    ///
    /// # Errors
    /// [`Invalid`] names the first fault.
    fn validate(&self) -> Result<(), Invalid>;
}

pub(crate) fn present(text: &str, field: &'static str) -> Result<(), Invalid> {
    match text.is_empty() {
        true => Err(Invalid::Missing(field)),
        false => Ok(()),
    }
}

pub(crate) fn some<T>(option: Option<T>, field: &'static str) -> Result<T, Invalid> {
    option.ok_or(Invalid::Missing(field))
}

macro_rules! validate_ids {
    ($($id:ident => $field:literal),+ $(,)?) => {$(
        impl Validate for $id {
            fn validate(&self) -> Result<(), Invalid> {
                present(&self.value, $field)
            }
        }
    )+};
}

validate_ids!(
    AgentId => "agent_id",
    ExecutorId => "executor_id",
    FrameworkId => "framework_id",
    OfferId => "offer_id",
    OperationId => "operation_id",
    TaskId => "task_id",
);

impl<T: Validate> Validate for [T] {
    fn validate(&self) -> Result<(), Invalid> {
        self.iter().try_for_each(Validate::validate)
    }
}

impl<T: Validate> Validate for Option<T> {
    fn validate(&self) -> Result<(), Invalid> {
        self.as_ref().map_or(Ok(()), Validate::validate)
    }
}

impl Validate for Offer {
    fn validate(&self) -> Result<(), Invalid> {
        self.id.validate()?;
        self.framework_id.validate()?;
        self.agent_id.validate()?;
        self.executor_ids.validate()?;
        let named = |resource: &crate::v1::Resource| present(&resource.name, "resource.name");
        self.resources.iter().try_for_each(named)
    }
}

impl Validate for InverseOffer {
    fn validate(&self) -> Result<(), Invalid> {
        self.id.validate()?;
        self.framework_id.validate()
    }
}

impl Validate for TaskStatus {
    fn validate(&self) -> Result<(), Invalid> {
        self.task_id.validate()?;
        self.agent_id.validate()?;
        self.executor_id.validate()?;
        let known = TaskState::try_from(self.state);
        known.map(|_| ()).map_err(|_| Invalid::UnknownValue { field: "state", value: self.state })
    }
}

impl Validate for OperationStatus {
    fn validate(&self) -> Result<(), Invalid> {
        self.operation_id.validate()
    }
}

impl Validate for TaskInfo {
    fn validate(&self) -> Result<(), Invalid> {
        self.task_id.validate()?;
        self.agent_id.validate()?;
        match &self.executor {
            Some(executor) => executor.executor_id.validate(),
            None => Ok(()),
        }
    }
}

impl Validate for FrameworkInfo {
    fn validate(&self) -> Result<(), Invalid> {
        present(&self.user, "framework_info.user")?;
        present(&self.name, "framework_info.name")?;
        self.id.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_prost_left_empty_is_refused() {
        use prost::Message;
        let status = TaskStatus::decode(&b""[..]).unwrap();
        assert_eq!(status.validate(), Err(Invalid::Missing("task_id")));
        let mut status = TaskStatus::new("t", TaskState::Running);
        assert_eq!(status.validate(), Ok(()));
        status.agent_id = Some(AgentId::default());
        assert_eq!(status.validate(), Err(Invalid::Missing("agent_id")));
    }

    #[test]
    fn a_state_from_the_future_is_not_taken_for_another() {
        let mut status = TaskStatus::new("t", TaskState::Running);
        status.state = 99;
        let error = status.validate().unwrap_err();
        assert_eq!(error.to_string(), "'state' has an unknown value 99");
    }
}
