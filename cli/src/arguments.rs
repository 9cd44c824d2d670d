//! The command line.

use crate::commands::{action, admin, backup, change, cluster, connect, launch, node, operation, product, run};
use crate::context::DEFAULT_URL;
use crate::demo;
use crate::failure::EXIT_CODES;
use crate::target;
use crate::up;
use clap::{Parser, Subcommand};

/// Launches and keeps clusters of big data products.
#[derive(Debug, Parser)]
#[command(name = "bigdata", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Where the platform is
    #[arg(long, global = true, env = "BIGDATA_URL", default_value = DEFAULT_URL)]
    pub(crate) url: String,
    /// The API's JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the platform on this machine until it is told to stop
    Up(up::Up),
    /// Run the platform, launch the reference product and show its way to ready
    Demo(demo::Demo),
    /// The catalog of products
    #[command(subcommand)]
    Product(product::ProductCommand),
    /// Launch a cluster of a product
    Launch(launch::Launch),
    /// Open a client on a cluster's endpoint
    Connect(connect::Connect),
    /// Ask a cluster's product for one of its actions, or list them
    Action(action::Action),
    /// Put a backup's data in the place of a cluster's
    Restore(action::Restore),
    /// Give a cluster more nodes, or fewer
    Scale(change::Scale),
    /// Bring a cluster to another version of its product, or to other options, node by node
    Upgrade(change::Upgrade),
    /// Clusters
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Nodes of clusters
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Changes that take time
    #[command(subcommand)]
    Operation(operation::OperationCommand),
    /// Why a cluster's nodes have no place yet
    Explain {
        /// The cluster
        #[arg(value_name = "CLUSTER", help = target::CLUSTER_HELP)]
        cluster: String,
    },
    /// The machines, and what they have
    Agents,
    /// The platform itself, for its administrators
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// What this machine allows, and what that means
    Doctor,
    /// The settings as `up` would use them, secrets masked
    Config(up::ConfigArguments),
    /// Backups of clusters
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Inside a product's script: tell how far it is
    Progress(run::Progress),
    /// Inside a product's script: publish values
    Output(run::Output),
}
