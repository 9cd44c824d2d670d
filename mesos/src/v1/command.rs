//! How an executor is started and stopped.

use super::DurationInfo;
use super::ids::{ExecutorId, FrameworkId};
use super::resource::{Labels, Resource};

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CommandInfo {
    #[prost(message, repeated, tag = "1")]
    pub uris: Vec<Uri>,
    #[prost(message, optional, tag = "2")]
    pub environment: Option<Environment>,
    /// Whether `value` is for `/bin/sh -c` (the default) or the program that `arguments` (its name first) go to.
    #[prost(bool, optional, tag = "6", default = "true")]
    pub shell: Option<bool>,
    #[prost(string, optional, tag = "3")]
    pub value: Option<String>,
    #[prost(string, repeated, tag = "7")]
    pub arguments: Vec<String>,
    #[prost(string, optional, tag = "5")]
    pub user: Option<String>,
}

impl CommandInfo {
    /// A program with its arguments (without its own name), started without a shell.
    #[must_use]
    pub fn program<I, S>(program: impl Into<String>, arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let program = program.into();
        let arguments = arguments.into_iter().map(Into::into);
        CommandInfo {
            shell: Some(false),
            arguments: std::iter::once(program.clone()).chain(arguments).collect(),
            value: Some(program),
            ..CommandInfo::default()
        }
    }

    /// Adds one variable of the environment.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let environment = self.environment.get_or_insert_default();
        environment.variables.push(Variable {
            name: name.into(),
            r#type: Some(VARIABLE_VALUE),
            value: Some(value.into()),
        });
        self
    }
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Uri {
    #[prost(string, required, tag = "1")]
    pub value: String,
    #[prost(bool, optional, tag = "2")]
    pub executable: Option<bool>,
    #[prost(bool, optional, tag = "3", default = "true")]
    pub extract: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub cache: Option<bool>,
    #[prost(string, optional, tag = "5")]
    pub output_file: Option<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Environment {
    #[prost(message, repeated, tag = "1")]
    pub variables: Vec<Variable>,
}

/// `Environment.Variable.Type.VALUE`; secrets are not spoken here.
const VARIABLE_VALUE: i32 = 1;

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Variable {
    #[prost(string, required, tag = "1")]
    pub name: String,
    #[prost(int32, optional, tag = "3", default = "1")]
    pub r#type: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// The process that runs a framework's tasks on an agent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExecutorInfo {
    #[prost(enumeration = "ExecutorType", optional, tag = "15")]
    pub r#type: Option<i32>,
    #[prost(message, required, tag = "1")]
    pub executor_id: ExecutorId,
    #[prost(message, optional, tag = "8")]
    pub framework_id: Option<FrameworkId>,
    #[prost(message, optional, tag = "7")]
    pub command: Option<CommandInfo>,
    #[prost(message, repeated, tag = "5")]
    pub resources: Vec<Resource>,
    #[prost(string, optional, tag = "9")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "10")]
    pub source: Option<String>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub data: Option<Vec<u8>>,
    #[prost(message, optional, tag = "13")]
    pub shutdown_grace_period: Option<DurationInfo>,
    #[prost(message, optional, tag = "14")]
    pub labels: Option<Labels>,
}

named_enum!(
    /// Who provides the executor: Mesos or the framework.
    pub enum ExecutorType {
        Unknown = 0 => "UNKNOWN",
        Default = 1 => "DEFAULT",
        Custom = 2 => "CUSTOM",
    }
);

/// How long a task has between the request and the force.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct KillPolicy {
    #[prost(message, optional, tag = "1")]
    pub grace_period: Option<DurationInfo>,
}
