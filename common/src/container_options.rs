//! `docker_opts`: words for a container engine's command line, read against an allow-list. They never reach a shell or a
//! command line; an option that would let a container out of its bounds is refused by its name, some of them unless an
//! operator has given the product the right to it.

mod error;
mod host;
mod known;
mod rights;
#[cfg(test)]
mod tests;
mod words;

pub use error::ContainerOptionError;
pub use host::{HostDevice, HostMount, HostNamespace};
pub use rights::{ContainerRight, ContainerRights, UnknownRight};

use known::{CAPABILITIES, FLAGS, NAMESPACE, OUT_OF_BOUNDS, VALUED, meant, refusal};
use std::fmt;
use words::{bytes, limit, split};

/// What a product's `docker_opts` ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerOptions {
    /// `-e`, `--env`: further variables. They may hold late values.
    pub env: Vec<(String, String)>,
    /// `-u`, `--user`: `USER` or `USER:GROUP`.
    pub user: Option<String>,
    /// `-w`, `--workdir`.
    pub directory: Option<String>,
    /// `-h`, `--hostname`.
    pub hostname: Option<String>,
    /// `--entrypoint`.
    pub entrypoint: Option<String>,
    /// `--shm-size`, in bytes.
    pub shared_memory_bytes: Option<u64>,
    /// `--cap-add`, without `CAP_`.
    pub capabilities_added: Vec<String>,
    /// `--cap-drop`, without `CAP_`.
    pub capabilities_dropped: Vec<String>,
    /// `--tmpfs PATH[:OPTIONS]`.
    pub temporary: Vec<(String, String)>,
    /// `--ulimit NAME=SOFT[:HARD]`.
    pub limits: Vec<(String, i64, i64)>,
    /// `--add-host NAME:ADDRESS`.
    pub hosts: Vec<(String, String)>,
    /// `--stop-signal`.
    pub stop_signal: Option<String>,
    /// `--init`.
    pub init: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// `-v`, `--volume`, `--mount`.
    pub mounts: Vec<HostMount>,
    /// `--pid=host` and its like, each once.
    pub namespaces: Vec<HostNamespace>,
    /// `--device`.
    pub devices: Vec<HostDevice>,
    /// Whatever of all this is a matter of rights.
    pub marked: Vec<Marked>,
}

/// An option that takes a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The right.
    pub right: ContainerRight,
    /// The option's name, as it stands.
    pub option: String,
    /// Its value, as it stands; empty where it has none.
    pub value: String,
}

impl fmt::Display for Marked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.option)?;
        if self.value.is_empty() { Ok(()) } else { write!(formatter, " {}", self.value) }
    }
}

impl ContainerOptions {
    /// Reads the words; `rights` are those that the product was given.
    ///
    /// # Errors
    /// The first option that is refused, unknown or malformed.
    pub fn parse(text: &str, rights: &ContainerRights) -> Result<Self, ContainerOptionError> {
        let options = Self::parse_as_if_allowed(text)?;
        match options.marked.iter().find(|marked| !rights.contains(&marked.right)) {
            Some(marked) => Err(ContainerOptionError::Unmarked(marked.clone())),
            None => Ok(options),
        }
    }

    /// Reads the words as a product with every right may have them; `marked` says which it takes.
    ///
    /// # Errors
    /// The first option that is refused to everybody, unknown or malformed.
    pub fn parse_as_if_allowed(text: &str) -> Result<Self, ContainerOptionError> {
        let mut options = Self::default();
        let mut words = split(text)?.into_iter();
        while let Some(word) = words.next() {
            let (option, joined) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option.to_owned(), Some(value.to_owned())),
                _ => (word.clone(), None),
            };
            if let Some(reason) = refusal(&option) {
                return Err(ContainerOptionError::Refused { option, reason });
            }
            if options.flag(&option, joined.as_deref())? {
                continue;
            }
            if !VALUED.contains(&option.as_str()) {
                // `-eNAME=VALUE` is no form of ours, and neither is a word without a dash.
                let meant = meant(&option);
                return Err(ContainerOptionError::Unknown { option, meant });
            }
            let malformed = |wanted| ContainerOptionError::Malformed { option: option.clone(), wanted };
            let value = joined.or_else(|| words.next()).ok_or_else(|| malformed("a value"))?;
            options.set(&option, value)?;
        }
        Ok(options)
    }

    fn flag(&mut self, option: &str, value: Option<&str>) -> Result<bool, ContainerOptionError> {
        if !FLAGS.contains(&option) {
            return Ok(false);
        }
        let is_set = match value {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => {
                return Err(ContainerOptionError::Malformed { option: option.to_owned(), wanted: "true or false" });
            }
        };
        match option {
            "--init" => self.init = is_set,
            "--read-only" => self.read_only = is_set,
            _ => {
                self.privileged = is_set;
                self.marked.retain(|marked| marked.right != ContainerRight::Privileged);
                if is_set {
                    self.mark(ContainerRight::Privileged, option, "");
                }
            }
        }
        Ok(true)
    }

    fn mark(&mut self, right: ContainerRight, option: &str, value: &str) {
        self.marked.push(Marked { right, option: option.to_owned(), value: value.to_owned() });
    }

    fn set(&mut self, option: &str, value: String) -> Result<(), ContainerOptionError> {
        let malformed = |wanted| ContainerOptionError::Malformed { option: option.to_owned(), wanted };
        match option {
            "-e" | "--env" => {
                let (name, value) = value.split_once('=').ok_or_else(|| malformed("NAME=VALUE"))?;
                self.env.push((name.to_owned(), value.to_owned()));
            }
            "-u" | "--user" => self.user = Some(value),
            "-w" | "--workdir" => self.directory = Some(value),
            "-h" | "--hostname" => self.hostname = Some(value),
            "--entrypoint" => self.entrypoint = Some(value),
            "--stop-signal" => self.stop_signal = Some(value),
            "--shm-size" => {
                self.shared_memory_bytes = Some(bytes(&value).ok_or_else(|| malformed("a size such as 64m"))?);
            }
            "--cap-add" => {
                let name = capability(&value);
                if !CAPABILITIES.contains(&name.as_str()) {
                    self.mark(ContainerRight::Capabilities, option, &value);
                }
                self.capabilities_added.push(name);
            }
            "--cap-drop" => self.capabilities_dropped.push(capability(&value)),
            "-v" | "--volume" | "--mount" => {
                let read = if option == "--mount" { host::mount_in_words(&value) } else { host::mount(&value) };
                let wanted = if option == "--mount" { host::MOUNT_WORDS } else { host::MOUNT };
                self.mounts.push(read.ok_or_else(|| malformed(wanted))?);
                self.mark(ContainerRight::HostMounts, option, &value);
            }
            "--device" => {
                self.devices.push(host::device(&value).ok_or_else(|| malformed(host::DEVICE))?);
                self.mark(ContainerRight::Devices, option, &value);
            }
            "--tmpfs" => {
                let (path, options) = value.split_once(':').unwrap_or((&value, ""));
                self.temporary.push((path.to_owned(), options.to_owned()));
            }
            "--ulimit" => self.limits.push(limit(&value).ok_or_else(|| malformed("NAME=SOFT or NAME=SOFT:HARD"))?),
            "--add-host" => {
                let (name, address) = value.split_once(':').ok_or_else(|| malformed("NAME:ADDRESS"))?;
                if address == "host-gateway" {
                    let option = format!("{option} {value}");
                    return Err(ContainerOptionError::Refused { option, reason: NAMESPACE });
                }
                self.hosts.push((name.to_owned(), address.to_owned()));
            }
            "--security-opt" if matches!(value.as_str(), "no-new-privileges" | "no-new-privileges:true") => {
                self.no_new_privileges = true;
            }
            _ => match host::namespace(option).filter(|_| value == "host") {
                Some(namespace) => {
                    if !self.namespaces.contains(&namespace) {
                        self.namespaces.push(namespace);
                    }
                    self.mark(ContainerRight::HostNamespaces, option, &value);
                }
                None => {
                    let reason = if option == "--security-opt" { OUT_OF_BOUNDS } else { NAMESPACE };
                    return Err(ContainerOptionError::Refused { option: format!("{option} {value}"), reason });
                }
            },
        }
        Ok(())
    }
}

/// A capability's name without `CAP_`.
fn capability(value: &str) -> String {
    let upper = value.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}
