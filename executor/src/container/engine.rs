//! The container engine of this machine: Docker, or Podman, which serves the same API.

use bollard::{API_DEFAULT_VERSION, Docker};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// What an agent's operator may say of it, in the executor's environment.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `BIGDATA_CONTAINER_ENGINE`: its socket; `none` where it is not to be used. Else the usual places are looked at.
    pub socket: Option<String>,
    /// `BIGDATA_CONTAINER_IMAGES`: a folder with images as `docker save` writes them, for machines without a registry.
    pub images: Option<PathBuf>,
    /// `BIGDATA_CONTAINERS_FIRST=true`: nodes with an image run as containers though they have a command, too, where the
    /// machine has an engine. Where it has none they are processes still: such a node may be placed anywhere.
    pub is_first: bool,
    /// `BIGDATA_REGISTRY_AUTH_FILE`: who the registries of images take this machine for, as `docker login` writes it.
    pub registry_auth: Option<PathBuf>,
}

impl Settings {
    /// Reads them.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            socket: variable("BIGDATA_CONTAINER_ENGINE"),
            images: variable("BIGDATA_CONTAINER_IMAGES").map(PathBuf::from),
            is_first: variable("BIGDATA_CONTAINERS_FIRST").is_some_and(|value| value == "true"),
            registry_auth: variable("BIGDATA_REGISTRY_AUTH_FILE").map(PathBuf::from),
        }
    }

    /// The same for an executor's environment.
    pub fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        [
            ("BIGDATA_CONTAINER_ENGINE", self.socket.clone()),
            ("BIGDATA_CONTAINER_IMAGES", text(&self.images)),
            ("BIGDATA_REGISTRY_AUTH_FILE", text(&self.registry_auth)),
            ("BIGDATA_CONTAINERS_FIRST", self.is_first.then(|| "true".to_owned())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// Whether this machine has an engine, which may be one that does not answer.
    pub(super) fn has_engine(&self) -> bool {
        candidates(self).iter().any(|path| is_socket(path))
    }
}

/// How long it may take for a call, in seconds: a machine that is busy starts a container slowly.
pub(super) const CALL_LIMIT: u64 = 120;

const PODMAN: &str = "Podman";

/// An engine that answers.
#[derive(Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    /// `Podman 4.3.1`, `Docker 28.2.2`.
    pub name: String,
    /// Where it listens.
    pub socket: PathBuf,
    /// What it cannot, in words.
    pub limits: Vec<String>,
}

impl Engine {
    /// The engine of this machine, which may take so long to say what it is.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub async fn find(settings: &Settings, patience: Duration) -> Result<Self, String> {
        let candidates = candidates(settings);
        let socket = candidates.iter().find(|path| is_socket(path)).ok_or_else(|| {
            let looked: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
            match settings.socket.as_deref() {
                Some("none") => "container engines are switched off here (BIGDATA_CONTAINER_ENGINE=none)".to_owned(),
                _ => format!("no container engine: there is no socket at {}", looked.join(", ")),
            }
        })?;
        Self::at(socket, patience)
            .await
            .map_err(|reason| format!("the container engine at {}: {reason}", socket.display()))
    }

    /// One that was asked nothing yet.
    #[cfg(test)]
    pub(super) fn unasked(socket: &Path) -> Result<Self, String> {
        Ok(Self {
            docker: client(socket)?,
            name: "the engine".to_owned(),
            socket: socket.to_owned(),
            limits: Vec::new(),
        })
    }

    /// Whether it is Podman, whose own interface can more than the one that it shares with Docker.
    pub(super) fn is_podman(&self) -> bool {
        self.name.starts_with(PODMAN)
    }

    async fn at(socket: &Path, patience: Duration) -> Result<Self, String> {
        let words = |error: bollard::errors::Error| in_words(&error);
        let docker = client(socket)?;
        let asking = async {
            let docker = docker.negotiate_version().await?;
            let version = docker.version().await?;
            let info = docker.info().await?;
            Ok((docker, version, info))
        };
        let (docker, version, info) =
            timeout(patience, asking).await.map_err(|_| "it does not answer".to_owned())?.map_err(words)?;
        let is_podman = version.components.iter().flatten().any(|component| component.name.starts_with(PODMAN));
        let kind = if is_podman { PODMAN } else { "Docker" };
        let name = format!("{kind} {}", version.version.unwrap_or_default());
        let lacks = [
            (info.memory_limit, "it does not bound memory"),
            (info.cpu_cfs_quota, "it does not bound CPU time"),
            (info.pids_limit, "it does not bound processes"),
        ];
        let limits =
            lacks.iter().filter(|(has, _)| *has == Some(false)).map(|(_, words)| (*words).to_owned()).collect();
        Ok(Self { docker, name, socket: socket.to_owned(), limits })
    }
}

fn client(socket: &Path) -> Result<Docker, String> {
    let path = socket.to_str().ok_or("its path is no UTF-8")?;
    Docker::connect_with_unix(path, CALL_LIMIT, API_DEFAULT_VERSION).map_err(|error| in_words(&error))
}

fn candidates(settings: &Settings) -> Vec<PathBuf> {
    let path = |text: &str| PathBuf::from(text.strip_prefix("unix://").unwrap_or(text));
    match settings.socket.as_deref() {
        Some("none") => Vec::new(),
        Some(named) => vec![path(named)],
        None => {
            let named = std::env::var("DOCKER_HOST").ok().filter(|host| host.starts_with("unix://"));
            let user = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("podman/podman.sock"));
            let usual = ["/var/run/docker.sock", "/run/podman/podman.sock"].map(PathBuf::from);
            named.iter().map(|host| path(host)).chain(usual).chain(user).collect()
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// What an engine says, without the client's words around it.
pub(super) fn in_words(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        bollard::errors::Error::DockerStreamError { error } => error.trim().to_owned(),
        error => crate::chain(error),
    }
}

/// Whether the engine says that there is no such thing.
pub(super) fn is_missing(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}
