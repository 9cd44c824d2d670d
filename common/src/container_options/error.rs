//! Why words are not taken.

use super::Marked;
use std::fmt;

/// Why `docker_opts` are not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerOptionError {
    /// It would give the container more than its node was promised.
    Refused {
        /// The option, as it stands.
        option: String,
        /// Why.
        reason: &'static str,
    },
    /// It takes a right that the product has not been given.
    Unmarked(Marked),
    /// No option that the platform passes on.
    Unknown {
        /// The word.
        option: String,
        /// What may have been meant.
        meant: Option<&'static str>,
    },
    /// It has no value, or one that is not of its form.
    Malformed {
        /// The option.
        option: String,
        /// What is wanted.
        wanted: &'static str,
    },
    /// A quote that is not closed.
    Unclosed,
}

impl fmt::Display for ContainerOptionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { option, reason } => write!(formatter, "docker_opts: {option} is refused: {reason}"),
            Self::Unmarked(marked) => write!(
                formatter,
                "docker_opts: {marked} is refused: it {}, and the product has not been given the container right {}",
                marked.right.effect(),
                marked.right
            ),
            Self::Unknown { option, meant } => {
                write!(formatter, "docker_opts: {option} is no option that is passed on")?;
                meant.map_or(Ok(()), |meant| write!(formatter, "; did you mean {meant}?"))
            }
            Self::Malformed { option, wanted } => write!(formatter, "docker_opts: {option} wants {wanted}"),
            Self::Unclosed => write!(formatter, "docker_opts: a quote is not closed"),
        }
    }
}

impl std::error::Error for ContainerOptionError {}
