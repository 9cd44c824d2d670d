//! Ids: each a type of its own, so that one cannot be taken for another.

id!(
    /// Given by the master at the first subscription.
    FrameworkId
);
id!(
    /// Names one offer, until it is accepted, declined or rescinded.
    OfferId
);
id!(
    /// Stable over an agent's restarts.
    AgentId
);
id!(
    /// Chosen by the framework, never used twice.
    TaskId
);
id!(
    /// Chosen by the framework, unique on an agent.
    ExecutorId
);
id!(
    /// One life of an executor.
    ContainerId
);
id!(
    /// Chosen by the framework that wants to hear how an operation ended.
    OperationId
);
id!(
    /// Names a provider of resources other than the agent itself.
    ResourceProviderId
);
