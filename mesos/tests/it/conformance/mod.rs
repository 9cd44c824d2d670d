//! What a master with one agent does, whoever it is.

mod authentication;
mod executors;
mod http;
mod offers;
mod operations;
mod subscription;
mod tasks;

/// Runs each body on the engine and on a real Mesos.
macro_rules! on_both {
    ($($group:ident :: $body:ident),+ $(,)?) => {
        mod engine {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $body() {
                super::$group::$body(&mut crate::support::cluster::Cluster::engine().await).await;
            })+
        }

        mod mesos {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $body() {
                if let Some(mut cluster) = crate::support::cluster::Cluster::mesos().await {
                    super::$group::$body(&mut cluster).await;
                }
            })+
        }
    };
}

on_both!(
    authentication::who_proves_nothing_is_told_nothing,
    authentication::a_framework_is_who_its_scheduler_proved_to_be,
    http::requests_that_are_not_calls_are_refused,
    http::calls_are_bound_to_the_subscription,
    subscription::the_later_of_two_subscriptions_wins,
    subscription::a_framework_that_was_torn_down_does_not_come_back,
    subscription::a_framework_without_failover_ends_with_its_stream,
    offers::offers_tell_of_the_agent_and_go_where_they_are_wanted,
    offers::suppressed_offers_come_back_when_revived,
    offers::an_offer_is_used_once,
    operations::a_volume_outlives_its_task_until_it_is_destroyed,
    operations::a_volume_below_a_folder_does_not_appear,
    operations::feedback_is_told_until_it_is_acknowledged,
    tasks::a_task_runs_and_is_killed,
    tasks::what_is_not_acknowledged_is_told_again,
    tasks::tasks_are_reconciled,
    tasks::bad_tasks_are_refused,
    executors::messages_go_both_ways,
    executors::an_executor_that_dies_ends_its_tasks,
    executors::an_executor_that_cannot_be_started_ends_its_tasks,
    executors::an_executor_is_shut_down,
    executors::two_tasks_share_an_executor,
    executors::an_executor_outlives_its_agent,
    executors::an_executor_that_dies_while_the_agent_is_away_is_noticed,
);
